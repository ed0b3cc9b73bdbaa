"""`vla3d collect`: let the scripted experts show how it is done, and keep what succeeds."""

from pathlib import Path

from vla3d.evaluation.collect_config import CollectConfig


def collect(config: CollectConfig) -> Path:
    """Collect what the request still lacks, print the closing table, and return the dataset's folder.

    Raises:
        Vla3dError: anything the user can mend.
        KeyboardInterrupt: Ctrl-C, after the state has been kept; the command line exits with 130.
    """
    from vla3d.evaluation.collect import closing_table
    from vla3d.evaluation.collect import collect as run

    try:
        report = run(config)
    except KeyboardInterrupt:
        print(f"\nStopped. What is stored in {config.out} stays; run the same command again to continue.")
        raise
    print("\n" + closing_table(report))
    return config.out
