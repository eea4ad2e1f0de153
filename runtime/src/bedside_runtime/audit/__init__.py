"""The audit log: a durable, chained record of every answer, and the proof that none was lost or changed."""
