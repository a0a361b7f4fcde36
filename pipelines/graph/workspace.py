"""An isolated run: a git worktree of its own on the project's DVC cache, whose outcome comes back as a branch.

The worktrees lie in `.ganlib/runs/NAME`. Code that runs in one finds the project's store, spool and caches by that
place (`paths.HOME`); the lock of whoever drives the stages is the worktree's own, so that runs stand beside others.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ganlib.config import RunConfig
from ganlib.errors import UserError
from pipelines import paths
from pipelines.git import act, git
from pipelines.graph import snapshot, worktree
from pipelines.graph.dag import repository
from pipelines.graph.locking import hold, hold_pipeline, holder

BRANCHES = "runs/"
OUTCOME = (paths.DVC_LOCK, paths.PARAMS, paths.REPORTS)
_INPUT = "Input-tree"  # in an outcome's commit: the content that the run started from
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")
_DAY_S = 86400.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        ref: a commit, branch or tag; None: HEAD with the uncommitted changes of the files that git knows.
        overrides: of parameters, `NAME=VALUE` each.
        name: of the run; None: one made of the model's name and of what runs, so that the same again is the same run.
    """

    ref: str | None = None
    overrides: Sequence[str] = ()
    name: str | None = None


@dataclass(frozen=True)
class Workspace:
    """Where an isolated run works.

    Attributes:
        name: of the run.
        root: the worktree.
        project: the project's folder in it.
        home: the project that the run is of.
        tree: the content that it started from.
        config: its parameters.
    """

    name: str
    root: Path
    project: Path
    home: Path
    tree: str
    config: RunConfig

    @property
    def branch(self) -> str:
        """Where the outcome is found afterwards."""
        return f"{BRANCHES}{self.name}"


@contextmanager
def isolated(home: Path, request: Request, *, say: Say) -> Iterator[Workspace]:
    """A worktree to run in; afterwards its outcome is on the run's branch and it is gone.

    One that was left by a failure is kept, and the same request goes on in it; a mistake that is found before the
    first stage leaves nothing. A second process with the same run waits for the first.

    Args:
        home: the project's folder.
        request: what to run.
        say: hears what is in the run and what is not, whom it waits for, and where its outcome is.

    Raises:
        UserError: it cannot be made, or raised inside.
    """
    home = home.resolve()
    if paths.HOME.is_absolute():
        raise UserError(f"{Path.cwd()}: is the worktree of an isolated run; run this in {paths.HOME}")
    taken = snapshot.take(home, ref=request.ref, overrides=request.overrides)
    name = request.name or default_name(taken)
    if not _NAME.fullmatch(name):
        raise UserError(f"--name {name}: expected letters, digits, and . _ = + - between them")
    root = home / paths.RUNS / name
    workspace = Workspace(name, root, root / taken.folder, home, taken.tree, taken.config)
    with hold(root.with_name(f"{name}.lock"), on_wait=say):
        say(f"run {name}: {taken.told}")
        _remove_old_failures(workspace)
        is_new = _prepare(workspace, taken.commit)
        try:
            with hold_pipeline(workspace.project, on_wait=say):  # what a killed run has left may still be ending
                worktree.restore(home, workspace.project, say=lambda line: say(f"run {name}: {line}"))
            yield workspace
        except UserError:
            if is_new:
                with worktree.one_at_a_time(home):
                    _discard(home, root)
            raise
        except BaseException:
            say(f"run {name}: kept in {root.relative_to(home)}; the same command goes on there")
            raise
        _keep_outcome(workspace)
        with worktree.one_at_a_time(home):
            worktree.remove(home, root)
        say(f"run {name}: its outcome is on the branch {workspace.branch}; `gan adopt {name}` brings it here")


def default_name(taken: snapshot.Snapshot) -> str:
    """Of a run that was given none: one made of its content, so that the same again is the same run."""
    return f"{taken.config.register_.model_name}-{taken.tree[: snapshot.SHORT]}"


def finished_with(home: Path, name: str, tree: str, path: Path) -> str | None:
    """What a finished run that started from this content has in a file; None where there is no such run or file."""
    branch = f"{BRANCHES}{name}"
    if git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", project=home) is None:
        return None
    return git("show", f"{branch}:./{path}", project=home) if _input_tree(home, branch) == tree else None


def give_up(home: Path, name: str) -> None:
    """Remove the worktree of a run that nobody shall go on with, and its branch where that holds no outcome."""
    root = home.resolve() / paths.RUNS / name
    with hold(root.with_name(f"{name}.lock"), on_wait=lambda _text: None), worktree.one_at_a_time(home):
        _discard(home, root)


def has_news(workspace: Workspace) -> bool:
    """Whether the outcome differs from the one on the branch."""
    return _outcome_tree(workspace) != _git(workspace, "rev-parse", "HEAD^{tree}")


def adopt(home: Path, name: str, *, say: Say) -> None:
    """Bring a run's `dvc.lock`, parameters, reports and DVC's files into the checkout, and nothing else.

    Raises:
        UserError: no such run, one at work, or changes of the checkout that would be lost.
    """
    branch = f"{BRANCHES}{name}"
    if git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", project=home) is None:
        known = [each.removeprefix(BRANCHES) for each in _branches(home)]
        raise UserError(f"run {name}: no branch {branch}; the runs: {', '.join(known) or 'none'}")
    if _input_tree(home, branch) is None:
        raise UserError(f"run {name}: not finished, so there is no outcome; run it again to go on")
    doing = f"adopting {name}"
    outcome = [str(path) for path in OUTCOME]
    there = [each for each in outcome if _blob(home, branch, each) is not None]
    with hold_pipeline(home, on_wait=say):
        changed = act("diff", "--name-only", "--relative", "HEAD", "--", *outcome, project=home, doing=doing)
        unknown = act("ls-files", "--others", "--exclude-standard", "--", *outcome, project=home, doing=doing)
        replaced = [file for file in unknown.splitlines() if _blob(home, branch, file) is not None]
        lost = [file for file in (*changed.splitlines(), *replaced) if _would_be_lost(home, branch, file)]
        if lost:
            raise UserError(
                f"run {name}: would replace what is not committed here: {', '.join(lost[:4])}; commit or `git stash` "
                "it first"
            )
        act("restore", "--source", branch, "--worktree", "--", *there, project=home, doing=doing)
        with repository(home) as repo:
            worktree.checkout(repo)
    say(f"run {name}: {', '.join(there)} are those of the run now, and so are DVC's files")
    code = act("diff", "--name-only", branch, "--", ".", *(f":!{path}" for path in outcome), project=home, doing=doing)
    if code:
        told = ", ".join(code.splitlines()[:4])
        say(f"the run had other code or data records than this checkout has ({told}): `git merge {branch}` brings them")


def _prepare(workspace: Workspace, commit: str) -> bool:
    """Make the worktree where there is none that is whole; False where there is."""
    home, root, branch = workspace.home, workspace.root, workspace.branch
    doing = f"run {workspace.name}"
    with worktree.one_at_a_time(home):
        exists = git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", project=home) is not None
        if exists:
            tree = _input_tree(home, branch) or act("rev-parse", f"{branch}^{{tree}}", project=home, doing=doing)
            if tree != workspace.tree:
                raise UserError(
                    f"{doing}: there is a run of this name with other content (branch {branch}); give another --name, "
                    f"or remove that run with `git branch -D {branch}`"
                )
        if worktree.is_whole(workspace.project):
            return False
        place = ("--", str(root), branch) if exists else ("-b", branch, "--", str(root), commit)
        try:
            worktree.add(home, root, workspace.project, place, doing=doing)
        except UserError:
            _discard(home, root)
            raise
    return True


def _keep_outcome(workspace: Workspace) -> None:
    """Commit it on the run's branch, if it is new; once at least, as that says that the run has finished."""
    if not has_news(workspace) and _input_tree(workspace.home, workspace.branch) is not None:
        return
    message = f"Outcome of run {workspace.name}\n\n{_INPUT}: {workspace.tree}"
    commit = snapshot.commit_tree(
        workspace.project, _outcome_tree(workspace), _git(workspace, "rev-parse", "HEAD"), message
    )
    _git(workspace, "update-ref", "-m", "outcome", "HEAD", commit)


def _outcome_tree(workspace: Workspace) -> str:
    found = [str(path) for path in OUTCOME if (workspace.project / path).exists()]
    _git(workspace, "add", "--all", "--", *found)
    return _git(workspace, "write-tree")


def _git(workspace: Workspace, *arguments: str) -> str:
    return act(*arguments, project=workspace.project, doing=f"run {workspace.name}")


def _input_tree(home: Path, branch: str) -> str | None:
    """What a finished run started from; None for one that has no outcome yet."""
    shown = f"--format=%(trailers:key={_INPUT},valueonly)"
    return git("log", "-1", shown, f"refs/heads/{branch}", "--", project=home) or None


def _remove_old_failures(workspace: Workspace) -> None:
    """Keep the newest, as many and as long as the parameters say."""
    home, options = workspace.home, workspace.config.flow
    within = workspace.project.relative_to(workspace.root)
    oldest_s = time.time() - options.keep_failed_days * _DAY_S
    locks = sorted((home / paths.RUNS).glob("*.lock"), key=lambda path: path.stat().st_mtime, reverse=True)
    failed = 0
    for lock in locks:
        root = lock.with_suffix("")
        if any(holder(each) is not None for each in (lock, root / within / paths.PIPELINE_LOCK)):
            continue
        is_old = lock.stat().st_mtime < oldest_s
        if root.is_dir():
            failed += 1
            if is_old or failed > options.keep_failed_runs:
                with worktree.one_at_a_time(home):
                    _discard(home, root)
        if is_old:
            lock.unlink(missing_ok=True)


def _discard(home: Path, root: Path) -> None:
    """Remove a worktree, and its branch where that holds no outcome."""
    worktree.remove(home, root)
    branch = f"{BRANCHES}{root.name}"
    if _input_tree(home, branch) is None:
        git("branch", "-D", branch, project=home)


def _branches(home: Path) -> list[str]:
    return (git("for-each-ref", "--format=%(refname:short)", f"refs/heads/{BRANCHES}", project=home) or "").splitlines()


def _blob(home: Path, branch: str, path: str) -> str | None:
    """What the branch has at a path of the project; None where it has nothing."""
    return git("rev-parse", "--verify", "--quiet", f"{branch}:./{path}", project=home)


def _would_be_lost(home: Path, branch: str, path: str) -> bool:
    """Whether a file of the checkout has another content than the branch."""
    return (home / path).exists() and git("hash-object", "--", path, project=home) != _blob(home, branch, path)
