"""What a person or a program reads of a run; submodules are imported where they are used."""
