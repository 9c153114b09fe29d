"""The cloud command: description -> configuration -> running services."""
