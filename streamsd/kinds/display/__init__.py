"""The kind Display: a virtual X screen that programs draw on and streams capture."""
