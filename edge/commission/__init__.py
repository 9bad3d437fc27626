"""The test before the first driver: charges a little, and checks unit, transformers, phases and the failsafe."""
