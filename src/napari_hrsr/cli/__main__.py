"""Run the command line by ``python -m napari_hrsr.cli``."""

from napari_hrsr.cli import main

if __name__ == "__main__":
    main()
