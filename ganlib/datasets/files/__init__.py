"""The files of a folder or archive, wherever it is, trusted in nothing."""

from ganlib.datasets.files.folder import Folder, RemoteFolder, SingleFile
from ganlib.datasets.files.opening import AnyFiles, open_files
from ganlib.datasets.files.tar import CompressedTar, Tar
from ganlib.datasets.files.zip import Zip

__all__ = ["AnyFiles", "CompressedTar", "Folder", "RemoteFolder", "SingleFile", "Tar", "Zip", "open_files"]
