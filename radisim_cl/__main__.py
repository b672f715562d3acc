"""`python -m radisim_cl` is the command line; it is also what torchrun launches on every rank."""

from radisim_cl.cli import main

if __name__ == "__main__":
    main()
