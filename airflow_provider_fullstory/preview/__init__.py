"""The command that shows what a task of a DAG would send."""
