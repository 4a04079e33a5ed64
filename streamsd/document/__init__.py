"""From a profile's text to typed resources with a place for every part, or to every error in one pass.

`load.load` is the way in; the daemon, the CLI and the tests call it. `excerpt.render` prints what is wrong,
`schema.profile_schema` and `reference` publish what may be written, `envelope` writes a resource out again.
"""
