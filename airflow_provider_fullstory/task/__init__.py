"""One run of an import, as Airflow knows it."""
