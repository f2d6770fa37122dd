"""The paper alone, arXiv:2602.21276: its plan, tasks, statements and verdicts, its tables, figures and report.

The commands `reproduce`, `status` and `report` use it; nothing of the engine does.
May import `backend`, `display`, `drawing`, `files`, `workers`, `tasks`, `landscape`, `data`, `networks`, `paths`,
`analysis`, `training`, `pairs`, `figures`.
"""
