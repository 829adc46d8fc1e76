"""Source files through Hadoop's file systems, so that a bucket works like a folder."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from pipelines.errors import SourceError
from pipelines.faults import is_lost_worker

HEAD_BYTES = 1 << 20
"""How much of a text file's beginning is looked at before Spark reads it."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source and its size in bytes."""

    path: str
    size: int

    @property
    def name(self) -> str:
        """The last part of the path, for messages."""
        return self.path.rsplit("/", 1)[-1]


def list_files(spark: SparkSession, path: str, only: Sequence[str] | None = None) -> list[SourceFile]:
    """A source's files, or ``only`` these, sorted by path; names that begin with ``_`` or ``.`` are not data.

    Raises SourceError where the path is missing, unreadable or holds no file.
    """
    try:
        root = _path(spark, path)
        system = _file_system(spark, root)
        if not system.exists(root):
            raise SourceError(f"{path}: no such file or folder; set source.path or pass --source PATH")
        roots = [root] if only is None else [_path(spark, file) for file in only]
        found = [file for each in roots for file in _walk(system, each)]
    except Py4JJavaError as error:
        raise SourceError(f"{path}: cannot be read: {_cause(error)}") from None
    if not found:
        raise SourceError(f"{path}: the folder holds no data files; set source.path to the folder that does")
    return sorted(found, key=lambda file: file.path)


def heads(spark: SparkSession, files: list[SourceFile], size: int = HEAD_BYTES) -> list[bytes]:
    """The first bytes of each file, decompressed where its name says so (``.gz``)."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda file: _head(spark, file, size), files))


def tail(spark: SparkSession, file: SourceFile, size: int) -> bytes:
    """The last bytes of a file."""
    path = _path(spark, file.path)
    stream = _file_system(spark, path).open(path)
    try:
        stream.seek(max(file.size - size, 0))
        return bytes(stream.readNBytes(size))
    finally:
        stream.close()


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn Spark's failure to read a source file, such as a cut-off gzip, into a SourceError."""
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        text = str(error)
        if is_lost_worker(text) or not any(sign in text for sign in _UNREADABLE):
            raise
        file = text.partition("reading file ")[2].split()[:1]
        where = unquote(file[0].rstrip(".,")) if file else path
        raise _damaged(where, error) from None


_UNREADABLE = (
    "FAILED_READ_FILE",
    "Encountered error while reading file",
    "CANNOT_READ_FILE_FOOTER",
    "EOFException",
    "ZipException",
    "not a gzip file",
)


def _path(spark: SparkSession, path: str) -> Any:
    assert spark.sparkContext._jvm is not None
    return spark.sparkContext._jvm.org.apache.hadoop.fs.Path(path)


def _hadoop(spark: SparkSession) -> Any:
    return spark.sparkContext._jsc.hadoopConfiguration()


def _file_system(spark: SparkSession, path: Any) -> Any:
    return path.getFileSystem(_hadoop(spark))


def _walk(system: Any, root: Any) -> Iterator[SourceFile]:
    status = system.getFileStatus(root)
    if not status.isDirectory():
        yield SourceFile(str(status.getPath().toString()), int(status.getLen()))
        return
    for child in system.listStatus(root):
        if str(child.getPath().getName()).startswith(("_", ".")):
            continue
        if child.isDirectory():
            yield from _walk(system, child.getPath())
        else:
            yield SourceFile(str(child.getPath().toString()), int(child.getLen()))


def _head(spark: SparkSession, file: SourceFile, size: int) -> bytes:
    assert spark.sparkContext._jvm is not None
    path = _path(spark, file.path)
    try:
        stream = _file_system(spark, path).open(path)
        try:
            codecs = spark.sparkContext._jvm.org.apache.hadoop.io.compress.CompressionCodecFactory(
                _hadoop(spark)
            )
            codec = codecs.getCodec(path)
            return bytes((codec.createInputStream(stream) if codec else stream).readNBytes(size))
        finally:
            stream.close()
    except Py4JJavaError as error:
        raise _damaged(file.path, error) from None


def _damaged(path: str, error: Exception) -> SourceError:
    return SourceError(
        f"{path}: the file cannot be read to its end ({_cause(error)}); "
        "it is damaged, cut off or not ours to read: fetch it again, or leave it out of the source"
    )


def _cause(error: Exception) -> str:
    """The innermost Java exception in one line."""
    java = getattr(error, "java_exception", None)
    if java is None:
        lines = [line for line in str(error).splitlines() if "Caused by:" in line]
        return (lines[-1].partition("Caused by:")[2] if lines else str(error).splitlines()[0]).strip()
    while java.getCause() is not None:
        java = java.getCause()
    return str(java.toString()).splitlines()[0]
