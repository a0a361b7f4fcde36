"""What an isolated run works on, as a git commit; the checkout, its index included, stays as it is."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ganlib.config import RunConfig, parse_config
from ganlib.errors import UserError
from pipelines import paths
from pipelines.git import act, git
from pipelines.graph.worktree import local_inputs

SHORT = 8
_TOLD = 4
# For commits of a user whom git does not know.
_NOBODY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "ganlib"), ("EMAIL", "ganlib@localhost"))
}


@dataclass(frozen=True)
class Snapshot:
    """A commit to run on.

    Attributes:
        commit: its hash; that of `--ref` or HEAD itself where nothing is added to it.
        tree: the hash of its content.
        folder: the project's within the repository.
        config: its parameters.
        told: what is in it and what is not, in a line.
    """

    commit: str
    tree: str
    folder: Path
    config: RunConfig
    told: str


def take(home: Path, *, ref: str | None, overrides: Sequence[str], parameters: str | None = None) -> Snapshot:
    """Make a commit of what shall run; no branch holds it yet.

    Args:
        home: the project's folder.
        ref: a commit, branch or tag; None is HEAD with the uncommitted changes of the files that git knows.
        overrides: of parameters, `NAME=VALUE` each.
        parameters: the text of another params.yaml in the place of the commit's.

    Raises:
        UserError: no git repository, no such commit, or parameters that are not valid.
    """
    if git("rev-parse", "--is-inside-work-tree", project=home) is None:
        raise UserError(f"{home}: no git repository, which an isolated run works from; make one with `git init`")
    base = git("rev-parse", "--verify", "--quiet", f"{ref or 'HEAD'}^{{commit}}", project=home)
    if base is None and ref is None:
        raise UserError(f"{home}: no commit yet, and an isolated run starts from one; make one with `git commit`")
    if base is None:
        raise UserError(f"--ref {ref}: no such commit, branch or tag in {home}; `git log --all --oneline` lists them")
    folder = Path(act("rev-parse", "--show-prefix", project=home, doing="isolated run"))
    params = (folder / paths.PARAMS).as_posix()
    with _index_aside(home, base if ref is not None else None) as env:

        def do(*arguments: str) -> str:
            return act(*arguments, project=home, doing="isolated run", env=env)

        if ref is None:
            do("add", "--update", ":/")
        text = do("show", f":{params}") + "\n" if parameters is None else parameters
        if overrides:
            text = _overridden(text, overrides)
        config = parse_config(text, paths.PARAMS)
        if overrides or parameters is not None:
            with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                blob = do("hash-object", "-w", "--no-filters", file.name)
            do("update-index", "--cacheinfo", f"100644,{blob},{params}")
        tree = do("write-tree")
    commit = base
    if tree != act("rev-parse", f"{base}^{{tree}}", project=home, doing="isolated run"):
        changes = [*overrides, *([] if parameters is None else ["other parameters"])]
        subject = f"Isolated run: {', '.join(changes) or 'uncommitted changes'}"
        commit = commit_tree(home, tree, base, subject)
    told = _told(home, base, ref, overrides, _read_in_place(home, tree, config))
    return Snapshot(commit, tree, folder, config, told)


def commit_tree(project: Path, tree: str, parent: str, message: str) -> str:
    """Make a commit of a tree; its hash."""
    known = git("var", "GIT_COMMITTER_IDENT", project=project) is not None
    arguments = ("commit-tree", tree, "-p", parent, "-m", message)
    return act(*arguments, project=project, doing="isolated run", env={} if known else _NOBODY)


@contextmanager
def _index_aside(home: Path, base: str | None) -> Iterator[dict[str, str]]:
    """The environment in which git uses an index of its own: that of a commit, or a copy of the checkout's."""
    with tempfile.TemporaryDirectory() as folder:
        env = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        used = home / act("rev-parse", "--git-path", "index", project=home, doing="isolated run")
        if base is None and used.exists():
            shutil.copy2(used, env["GIT_INDEX_FILE"])
        else:
            act("read-tree", base or "HEAD", project=home, doing="isolated run", env=env)
        yield env


def _overridden(text: str, overrides: Sequence[str]) -> str:
    """The parameters with others set as `dvc exp run -S` sets them; comments stay.

    Raises:
        UserError: no such parameter, or not NAME=VALUE.
    """
    from dvc.exceptions import InvalidArgumentError
    from dvc.utils.hydra import apply_overrides

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, paths.PARAMS.name)
        for override in overrides:  # each by itself, so that an error names it
            file.write_text(text, encoding="utf-8")
            try:
                apply_overrides(file, [override])
            except InvalidArgumentError as error:
                why = " ".join(str(error.__cause__).split())
                why = re.sub(r"Key '(\S+)' is not in struct.*", r"\1 is no parameter there", why)
                raise UserError(f"-S {override}: expected NAME=VALUE of {paths.PARAMS}; {why[:200]}") from None
            text = file.read_text(encoding="utf-8")
    return text


def _read_in_place(home: Path, tree: str, config: RunConfig) -> list[Path]:
    """The inputs of which the commit has nothing, so that a run reads them where they lie."""
    inputs = (home / path for _, path in local_inputs(config.model_dump()))
    return [path for path in inputs if not git("ls-tree", "--name-only", tree, "--", str(path), project=home)]


def _told(home: Path, base: str, ref: str | None, overrides: Sequence[str], in_place: Sequence[Path]) -> str:
    changed = _names(git("diff", "--name-only", "HEAD", project=home))
    unknown = [
        name
        for name in _names(git("ls-files", "--others", "--exclude-standard", project=home))
        if not any((home / name).is_relative_to(path) for path in in_place)
    ]
    parts = [f"commit {base[:SHORT]}"]
    if ref is None and changed:
        parts.append(f"with the uncommitted changes of {_listed(changed)}")
    if overrides:
        parts.append(f"with {', '.join(overrides)}")
    if ref is None:
        left_out = unknown
    else:  # a commit that was made of the checkout holds its changes
        apart = _names(git("diff", "--name-only", base, project=home))
        left_out = [*(name for name in changed if name in apart), *unknown]
    if left_out:
        kind = "that git does not know" if ref is None else "of the checkout that are not committed"
        parts.append(f"without the files {kind}: {_listed(left_out)}")
    return ", ".join(parts)


def _names(output: str | None) -> list[str]:
    return (output or "").splitlines()


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return f"{', '.join(map(os.fspath, names[:_TOLD]))}{more}"
