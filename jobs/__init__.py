"""spark-submit entry points: arguments, validated config, one pipeline call."""
