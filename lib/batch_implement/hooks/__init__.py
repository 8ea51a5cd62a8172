"""The hooks: one module a concern, each a function from a payload to an answer. `entry` says which event calls what."""
