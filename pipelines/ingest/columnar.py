"""Parquet and Delta: typed columns, read as the strings that a text file would hold; times stay times."""

from typing import Any

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    FractionalType,
    NumericType,
    TimestampNTZType,
    TimestampType,
)

from pipelines.errors import SourceError
from pipelines.ingest.column_kinds import KIND, kind_of
from pipelines.ingest.files import SourceFile, heads, list_files, tail
from pipelines.ingest.records import Records, require_columns

MAGIC = b"PAR1"
EXACT_DOUBLE = 2.0**53
OTHERWISE_IN_JSON = (FractionalType, TimestampType, TimestampNTZType, BinaryType)
"""JSON would say ``1.0E7`` of a float that reads as ``10000000``, and cut times to milliseconds."""


def read_parquet(spark: SparkSession, records: Records) -> DataFrame:
    """As ``read_records``; ``raw`` is the row as JSON, ``layout`` and ``fault`` are null."""
    if DeltaTable.isDeltaTable(spark, records.path):
        raise SourceError(f"{records.path}: is a Delta table; set {records.section}.format = 'delta'")
    files = list_files(spark, records.path, records.files)
    for file, head in zip(files, heads(spark, files, len(MAGIC)), strict=True):
        if file.size < 12 or head != MAGIC or tail(spark, file, len(MAGIC)) != MAGIC:
            what = "the file is empty" if file.size == 0 else "is not a Parquet file, or was cut off"
            raise SourceError(f"{file.path}: {what}; mend it, leave it out or set {records.section}.format")
    reader = spark.read
    if any("=" in file.path.rpartition("/")[0] for file in files) and len(files) > 1:
        reader = reader.option("basePath", records.path)  # folders named key=value bring columns
    frame = reader.parquet(*(file.path for file in files))
    require_columns(records, files[0].path, frame.columns)
    if len(files) > 1:
        _require_one_schema(spark, records, files)
    return _as_records(frame, records)


def read_delta(spark: SparkSession, records: Records) -> DataFrame:
    """As ``read_records``; ``raw`` is the row as JSON, ``layout`` and ``fault`` are null."""
    if not DeltaTable.isDeltaTable(spark, records.path):
        raise SourceError(
            f"{records.path}: no Delta table; set {records.section}.path to the folder that holds "
            f"_delta_log, or {records.section}.format"
        )
    frame = spark.read.format("delta").load(records.path)
    require_columns(records, records.path, frame.columns)
    return _as_records(frame, records)


def _require_unit(frame: DataFrame, records: Records) -> None:
    """SourceError where the type of ``ts`` contradicts ``ts_unit``."""
    if records.ts_unit is None:
        return
    kind = frame.schema[records.columns["ts"]].dataType
    where = f"{records.path}: column {records.columns['ts']}"
    if isinstance(kind, DateType | TimestampType | TimestampNTZType) and records.ts_unit != "iso":
        raise SourceError(f"{where} is a {kind.simpleString()}; set {records.section}.ts_unit = 'iso'")
    if isinstance(kind, NumericType) and records.ts_unit == "iso":
        raise SourceError(f"{where} holds numbers; set {records.section}.ts_unit = 's', 'ms' or 'us'")


def _as_records(frame: DataFrame, records: Records) -> DataFrame:
    _require_unit(frame, records)
    types = {ours: frame.schema[theirs].dataType for ours, theirs in records.columns.items()}
    return frame.select(
        *(
            _value(ours, F.col(f"`{records.columns[ours]}`"), type_).alias(
                ours, metadata={KIND: kind_of(type_)}
            )
            for ours, type_ in types.items()
        ),
        F.to_json(F.struct(*(_payload(frame, name) for name in frame.columns))).alias("raw"),
        F.lit(None).cast("string").alias("layout"),
        F.col("_metadata.file_path").alias("file"),
        F.lit(None).cast("string").alias("fault"),
    )


def _payload(frame: DataFrame, name: str) -> Column:
    """A column of ``raw``, which reads as the row itself did when it is tried again from quarantine."""
    column, kind = F.col(f"`{name}`"), frame.schema[name].dataType
    return (_text(column, kind) if isinstance(kind, OTHERWISE_IN_JSON) else column).alias(name)


def _value(ours: str, column: Column, kind: DataType) -> Column:
    if ours == "ts" and isinstance(kind, TimestampType | TimestampNTZType):
        return column.cast("timestamp")  # to write it as text and read that again took 1 µs an event
    return _text(column, kind)


def _text(column: Column, kind: DataType) -> Column:
    """Exact text; a float that holds a whole number (pandas' integers with gaps) reads as that number."""
    if isinstance(kind, FloatType | DoubleType):
        whole = (F.floor(column) == column) & (F.abs(column) < EXACT_DOUBLE)
        return F.when(whole, column.try_cast("bigint").cast("string")).otherwise(column.cast("string"))
    return column.cast("string")


def _require_one_schema(spark: SparkSession, records: Records, files: list[SourceFile]) -> None:
    """SourceError that names the file whose mapped columns differ from the first one's."""
    first = _footer_types(spark, files[0])
    for file in files[1:]:
        types = _footer_types(spark, file)
        for ours, theirs in records.columns.items():
            if theirs not in first:
                continue  # a partition column, which lies in the path
            if theirs not in types:
                require_columns(records, file.path, types)
            if types[theirs] != first[theirs]:
                raise SourceError(
                    f"{file.path}: column {theirs} ({ours}) is {types[theirs]}, but {first[theirs]} in "
                    f"{files[0].name}; write the files alike, or ingest them one after the other"
                )


def _footer_types(spark: SparkSession, file: SourceFile) -> dict[str, str]:
    """Type of every top-level column in a Parquet file's footer."""
    assert spark.sparkContext._jvm is not None
    jvm: Any = spark.sparkContext._jvm
    path = jvm.org.apache.hadoop.fs.Path(file.path)
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    try:
        source = jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(path, hadoop)
        reader = jvm.org.apache.parquet.hadoop.ParquetFileReader.open(source)
        try:
            fields = list(reader.getFooter().getFileMetaData().getSchema().getFields())
            return {str(field.getName()): _type_name(field) for field in fields}
        finally:
            reader.close()
    except Py4JJavaError as error:
        message = str(error.java_exception.getMessage()).splitlines()[0]
        raise SourceError(f"{file.path}: is not a readable Parquet file ({message})") from None


def _type_name(field: Any) -> str:
    if not field.isPrimitive():
        return "nested"
    logical = field.getLogicalTypeAnnotation()
    physical = str(field.getPrimitiveTypeName()).lower()
    return f"{physical} {str(logical).lower()}" if logical is not None else physical
