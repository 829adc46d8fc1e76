"""The trainer: reads gold/user_sequences under features.spec and knows no Spark."""
