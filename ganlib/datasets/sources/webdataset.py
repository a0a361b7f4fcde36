"""WebDataset: tars in which the files of a sample have one name up to a dot.

By the format it is the first dot, and what follows is the field. A sample has
an image, and in `.cls` (a number or a name) or in `.json` under `label` its
class. Its files follow each other, as the format asks for.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from ganlib.config import DataOptions
from ganlib.datasets.files.folder import Folder, RemoteFolder
from ganlib.datasets.files.formats import is_image_name
from ganlib.datasets.files.names import stem_of, suffix_of
from ganlib.datasets.files.opening import open_files
from ganlib.datasets.files.places import wrong
from ganlib.datasets.files.reading import read_limited
from ganlib.datasets.files.tar import CompressedTar, Tar
from ganlib.datasets.items import COMPANION, FileEntry, Files, Item, Part, Refusal, printable
from ganlib.datasets.sources.rows import (
    PART_ROWS,
    Numbering,
    Numbers,
    class_name,
    damage_told,
    digest,
    facts,
    inline_parts,
    listed,
    refuse_label_file,
)
from ganlib.datasets.sources.splits import role_of_file
from ganlib.events import EventSink, ignore

_LABEL_SUFFIXES = (".cls", ".json")
_MAX_LABEL_BYTES = 1 << 20
_SHARD = re.compile(r"\.(tar|tgz|tar\.(gz|bz2|xz|zst))$")
# More files of one name up to the first dot are no sample: the dots belong to names.
_MOST_FIELDS = 64
_WORDS = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")
_WHOLE_NUMBER = re.compile(r"(-?[0-9]{1,18})(\.0+)?", re.ASCII)

Content = bytes | Refusal


@dataclass(frozen=True, slots=True)
class Sample:
    """The files of a sample that matter."""

    key: str
    image: FileEntry | None
    label: FileEntry | None

    @property
    def members(self) -> list[FileEntry]:
        """The files that are read."""
        return [entry for entry in (self.image, self.label) if entry is not None]


@dataclass(frozen=True, slots=True)
class Reading:
    """How the samples of a shard become items; `shard` is what names of files start with."""

    location: str
    shard: str
    numbers: Numbers
    labelled: bool
    limit_bytes: int

    def item(self, sample: Sample, contents: dict[str, Content]) -> Item | Refusal:
        """One sample, given the content of its files."""
        if sample.image is None:
            return Refusal(printable(self.shard + sample.key), "not_an_image", "a sample without an image")
        name = self.shard + sample.image.name
        label = None
        if sample.label is not None:
            label = _label(self.location, self.shard + sample.label.name, contents[sample.label.name])
        if self.labelled:
            label = class_name(self.location, name, label)
        elif label is not None:
            raise wrong(self.location, f"{name} has a label but the first sample has none", "expected all or none to")
        content = contents[sample.image.name]
        if isinstance(content, Refusal):
            return Refusal(printable(name), content.kind, content.detail, label)
        return Item(name, sample.key, label, self.numbers.split, content)


@dataclass(frozen=True, slots=True, eq=False)
class SamplesPart:
    """Consecutive samples of a shard."""

    tar: Tar
    samples: tuple[Sample | Refusal, ...]
    reading: Reading

    @property
    def identity(self) -> str:
        """See `Part`."""
        reading = self.reading
        described = [
            (found.name, found.kind, found.detail) if isinstance(found, Refusal) else facts(found.members)
            for found in self.samples
        ]
        keys = [found.key for found in self.samples if isinstance(found, Sample)]
        called = (reading.shard, reading.numbers.split, reading.labelled)
        return digest("samples", called, described, keys)

    def items(self) -> Iterator[Item | Refusal]:
        """See `Part`."""
        members = [found.members for found in self.samples if isinstance(found, Sample)]
        contents = self.tar.contents(list(chain.from_iterable(members)), self.reading.limit_bytes)
        for found in self.samples:
            if isinstance(found, Refusal):
                yield found
            else:
                yield self.reading.item(found, {member.name: next(contents) for member in found.members})


class WebDatasetSource:
    """A folder of shards such as `train-000000.tar`, whose names tell the splits, or one tar."""

    def __init__(self, files: Files, options: DataOptions, on_event: EventSink = ignore) -> None:
        self._files = files
        self._options = options
        self._on_event = on_event
        self._labelled: bool | None = None

    @property
    def description(self) -> str:
        """See `Source`."""
        return "WebDataset shards"

    def parts(self) -> Iterator[Part]:
        """See `Source`.

        Raises:
            UserError: a shard is damaged or no tar, or some samples have labels and others do not.
        """
        refuse_label_file(self._files, self._options, self.description)
        shards = self._shards()
        numbering = Numbering(self._files.location, map(role_of_file, shards), self._options, self._on_event)
        for shard in shards:
            if not numbering.uses(role_of_file(shard)):
                continue
            tar = self._tar(shard)
            if isinstance(tar, Tar):
                yield from self._direct(shard, tar, numbering)
            else:
                yield from self._sequential(shard, tar, numbering)

    def _shards(self) -> list[str]:
        """The names of the shards in their folder; an empty one for a tar by itself."""
        if isinstance(self._files, Tar | CompressedTar):
            return [""]
        if not isinstance(self._files, Folder | RemoteFolder):
            raise wrong(self._files.location, "found shards inside an archive", "expected a folder of them")
        shards = [entry.name for entry in listed(self._files, _is_shard)]
        if not shards:
            raise wrong(self._files.location, "found no shards", "expected names such as train-000000.tar")
        return shards

    def _tar(self, shard: str) -> Tar | CompressedTar:
        if isinstance(self._files, Tar | CompressedTar):
            return self._files
        assert isinstance(self._files, Folder | RemoteFolder)
        self._files.open(shard).close()  # refuses a link that leads outside
        tar = open_files(f"{self._files.location.rstrip('/')}/{shard}", self._options.limits.max_files)
        if not isinstance(tar, Tar | CompressedTar):
            raise wrong(self._files.location, f"{shard} is no tar", "make or fetch it again")
        return tar

    @property
    def _limit_bytes(self) -> int:
        return self._options.limits.max_file_bytes

    def _reading(self, shard: str, numbering: Numbering, count: int) -> Reading:
        return Reading(
            location=self._files.location,
            shard=f"{shard}/" if shard else "",
            numbers=numbering.take(role_of_file(shard), count),
            labelled=bool(self._labelled),
            limit_bytes=self._limit_bytes,
        )

    def _has_label(self, shard: str, sample: Sample, contents: dict[str, Content]) -> bool:
        """Whether the first sample is labelled, as all others have to be then."""
        if sample.label is None:
            return False
        name = sample.label.name
        return _label(self._files.location, f"{shard}/{name}".lstrip("/"), contents[name]) is not None

    def _samples(self, shard: str, run: Sequence[FileEntry]) -> Iterator[Sample | Refusal]:
        """The samples of files whose names are the same up to the first dot.

        Several images are fields of one sample if one has no dot but that of
        its suffix and what the others have in between are words, as in
        `0001.jpg` and `0001.seg.png`. Other dots belong to names, as in
        `2024.05.01_7.png`.
        """
        key = _key(run[0].name)
        images = [entry for entry in run if is_image_name(entry.name)]
        by_stem = {stem_of(entry.name): entry for entry in images}
        others = [stem for stem in by_stem if stem != key]
        by_name = {f"{stem_of(entry.name)}{suffix_of(entry.name)}": entry for entry in run}
        fields = all(_WORDS.fullmatch(stem[len(key) + 1 :]) for stem in others) and not any(
            f"{stem}.cls" in by_name for stem in others
        )
        if len(images) > len(by_stem) or (len(images) > 1 and fields and key not in by_stem):
            raise wrong(
                self._files.location,
                f"sample {f'{shard}/{key}'.lstrip('/')} has {len(images)} images "
                f"({', '.join(entry.name for entry in images[:3])})",
                "expected one in each sample, or one without a further dot; where dots belong to the names of images, "
                "write others for them",
            )
        if len(images) > 1 and fields:
            prefix = f"{shard}/" if shard else ""
            for stem in others:
                yield Refusal(printable(prefix + by_stem.pop(stem).name), COMPANION, f"another field of sample {key}")
        wanted = _LABEL_SUFFIXES if self._options.labels != "none" else ()
        for stem, image in by_stem.items():
            labels = (by_name.get(f"{base}{suffix}") for suffix in wanted for base in (stem, key))
            yield Sample(stem, image, next(filter(None, labels), None))
        if not images:
            yield Sample(key, None, None)

    def _direct(self, shard: str, tar: Tar, numbering: Numbering) -> Iterator[Part]:
        """Only headers are read here; who gets a part reads its samples."""
        found = chain.from_iterable(
            [run] if isinstance(run, Refusal) else self._samples(shard, run) for run in _runs(tar.entries())
        )
        while batch := list(islice(found, PART_ROWS)):
            first = next((found for found in batch if isinstance(found, Sample) and found.image is not None), None)
            if self._labelled is None and first is not None:
                label = [] if first.label is None else [first.label]
                read = tar.contents(label, self._limit_bytes)
                self._labelled = self._has_label(shard, first, {entry.name: next(read) for entry in label})
            yield SamplesPart(tar, tuple(batch), self._reading(shard, numbering, len(batch)))

    def _sequential(self, shard: str, tar: CompressedTar, numbering: Numbering) -> Iterator[Part]:
        held: dict[str, Content] = {}

        def entries() -> Iterator[FileEntry | Refusal]:
            for found in tar.stream():
                if isinstance(found, tuple):
                    entry, stream = found
                    if is_image_name(entry.name) or suffix_of(entry.name) in _LABEL_SUFFIXES:
                        held[entry.name] = read_limited(stream, entry, self._limit_bytes)
                    yield entry
                else:
                    yield found

        def items() -> Iterator[Item | Refusal]:
            for run in _runs(entries()):
                if isinstance(run, Refusal):
                    yield run
                    continue
                for found in self._samples(shard, run):
                    if isinstance(found, Refusal):
                        yield found
                        continue
                    if self._labelled is None and found.image is not None:
                        self._labelled = self._has_label(shard, found, held)
                    yield self._reading(shard, numbering, 1).item(found, held)
                for entry in run:
                    held.pop(entry.name, None)

        stamp = FileEntry(shard or tar.location.rpartition("/")[2], 0, tar.stamp)
        yield from inline_parts(items(), [stamp])


def looks_like_webdataset(names: Sequence[str]) -> bool:
    """Whether a tar with these members is a shard: images with labels beside them.

    Where images lie in folders only `.cls` files tell so; `.json` files may
    be captions of the images of class folders.
    """
    images = {of(name) for name in names if is_image_name(name) for of in (_key, stem_of)}
    beside = [name for name in names if stem_of(name) in images]
    return any(suffix_of(name) == ".cls" or (suffix_of(name) == ".json" and "/" not in name) for name in beside)


def _runs(entries: Iterable[FileEntry | Refusal]) -> Iterator[list[FileEntry] | Refusal]:
    """Consecutive files whose names are the same up to the first dot, or up to the last dot where these are many."""
    run: list[FileEntry] = []
    for entry in entries:
        if run and (isinstance(entry, Refusal) or not _belongs(entry.name, run)):
            yield run
            run = []
        if isinstance(entry, Refusal):
            yield entry
        else:
            run.append(entry)
    if run:
        yield run


def _belongs(name: str, run: Sequence[FileEntry]) -> bool:
    last = run[-1].name
    return _key(name) == _key(last) and (len(run) < _MOST_FIELDS or stem_of(name) == stem_of(last))


def _is_shard(name: str) -> bool:
    return _SHARD.search(name.lower()) is not None


def _key(name: str) -> str:
    """A name up to the first dot of its file."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def _label(location: str, name: str, content: Content) -> str | None:
    """The class in a `.cls` or `.json` file; None where the latter does not tell."""
    if isinstance(content, Refusal) or len(content) > _MAX_LABEL_BYTES:
        raise wrong(location, f"{name} cannot be read or has over {_MAX_LABEL_BYTES} bytes", "expected a label")
    with damage_told(location, name):
        if name.lower().endswith(".cls"):
            text = content.decode("utf-8").strip()
            number = _WHOLE_NUMBER.fullmatch(text)
            return class_name(location, name, text if number is None else int(number[1]))
        try:
            facts_of_sample = json.loads(content)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
    label = facts_of_sample.get("label") if isinstance(facts_of_sample, dict) else None
    return None if label is None else class_name(location, name, label)
