"""How it scales: Spark stages that lift features/ over the cluster, Delta tables, gates."""
