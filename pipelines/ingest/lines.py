"""Lines of text files, split over the cluster, each with the file it comes from."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.errors import SourceError
from pipelines.ingest.files import SourceFile

BOM = "\ufeff"


def read_lines(spark: SparkSession, files: list[SourceFile]) -> DataFrame:
    """``value, file, block, line`` of all lines but blank ones; (file, block, line) gives their order."""
    value = F.col("value")
    return (
        spark.read.text([file.path for file in files])
        .select(
            F.when(value.startswith(BOM), F.substring(value, 2, 2**31 - 1)).otherwise(value).alias("value"),
            F.col("_metadata.file_path").alias("file"),
            F.col("_metadata.file_block_start").alias("block"),
            F.monotonically_increasing_id().alias("line"),
        )
        .where(F.trim("value") != "")
    )


def head_lines(file: SourceFile, head: bytes, complete: bool) -> list[bytes]:
    """The non-blank lines at a file's beginning; a last line that ``head`` cuts off is left out."""
    if head.startswith(b"\x1f\x8b"):
        raise SourceError(f"{file.path}: holds gzip data but its name does not end in .gz; rename it")
    lines = head.removeprefix(BOM.encode()).splitlines()
    if not complete and len(lines) > 1:
        lines = lines[:-1]
    return [line for line in lines if line.strip()]


def require_content(path: str, files: list[SourceFile]) -> list[SourceFile]:
    """The files that hold anything; SourceError where none does."""
    filled = [file for file in files if file.size > 0]
    if not filled:
        what = "the file is empty" if len(files) == 1 else f"all {len(files)} files are empty"
        raise SourceError(f"{path}: {what}; set source.path to a file with events")
    return filled
