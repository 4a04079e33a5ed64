"""The engine: from accepted resources to what runs, and back to what is true of it.

`compile` (specs to units) -> `planner` (pure: desired and observed to steps) -> `executor` (steps to the runtime) ->
`reconciler` (again, whenever anything changed). It knows no kind by name and no program.
"""
