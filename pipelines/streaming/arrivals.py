"""Where events arrive: the streaming source, and what one of its batches holds as raw rows.

Raw rows are those of ``pipelines.ingest.sources.read_source``, with ``arrived``: when a row was there to be
read, the time of its file or of its Kafka record.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.config.model import Config
from pipelines.errors import SourceError
from pipelines.ingest.files import list_files
from pipelines.ingest.json_source import parse_objects
from pipelines.ingest.lines import read_lines
from pipelines.ingest.records import Records
from pipelines.ingest.sources import raw_rows, read_records, source_records
from pipelines.streaming.request import StreamRequest

FOREVER: Final = "36500d"
"""Spark would leave out a file that is much older than the newest one: we take all."""

FILES: Final = "path string, modificationTime timestamp, length bigint, content binary"

ARRIVED: Final = ("arrived",)

Reader = Callable[[DataFrame], DataFrame | None]
"""A streaming batch in, its raw rows out; None where there are none."""


def open_stream(spark: SparkSession, request: StreamRequest, config: Config) -> tuple[DataFrame, Reader]:
    """The streaming source, and how a batch of it is read."""
    records = source_records(config.source)
    if request.kafka:
        reader = spark.readStream.format("kafka").option("kafka.bootstrap.servers", request.kafka)
        reader = reader.option("subscribe", request.topic or "").option("startingOffsets", "earliest")
        messages = reader.option("maxOffsetsPerTrigger", request.max_offsets).load()
        return messages, lambda batch: read_messages(batch, records)
    if "://" not in config.source.path and not Path(config.source.path).is_dir():
        raise SourceError(
            f"{config.source.path}: no such folder; make it, or pass another with --source PATH"
        )
    files = (
        # No content is read through it: only names and times of files are asked for.
        spark.readStream.format("binaryFile")
        .option("maxFilesPerTrigger", request.max_files)
        .option("maxFileAge", FOREVER)
        .option("recursiveFileLookup", "true")
        .schema(FILES)
        .load(config.source.path)
        .select("path", F.col("_metadata.file_path").alias("file"), "modificationTime", "length")
    )
    return files, lambda batch: read_files(batch, records)


def read_files(batch: DataFrame, records: Records) -> DataFrame | None:
    """The rows of the batch's files, read as a batch job reads them; SourceError where one is unreadable.

    An empty file holds no row. Of JSON lines no key is looked for beforehand: in a small file an optional
    one may be missing everywhere.
    """
    spark = batch.sparkSession
    files = batch.where("length > 0").collect()
    if not files:
        return None
    own = replace(records, files=tuple(sorted(row["path"] for row in files)))
    if records.format == "jsonl":
        read = parse_objects(read_lines(spark, list_files(spark, records.path, own.files)), own)
    else:
        read = read_records(spark, own)
    times = spark.createDataFrame(
        [(row["file"], row["modificationTime"]) for row in files], "file string, arrived timestamp"
    )
    return raw_rows(read, own).join(F.broadcast(times), "file", "left")


def read_messages(batch: DataFrame, records: Records) -> DataFrame:
    """The rows of Kafka records, each value one JSON object; ``file`` names topic, partition and offset.

    A record without a value is a row that is no JSON.
    """
    place = F.concat(F.lit("kafka:"), F.concat_ws("/", "topic", "partition", "offset"))
    value = F.coalesce(F.col("value").cast("string"), F.lit(""))
    lines = batch.select(value.alias("value"), place.alias("file"), F.col("timestamp").alias("arrived"))
    return raw_rows(parse_objects(lines, records, ARRIVED), records, ARRIVED)
