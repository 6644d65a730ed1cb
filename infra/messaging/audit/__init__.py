"""The auditor's eyes: reads the topics along and feeds ``core.audit``."""
