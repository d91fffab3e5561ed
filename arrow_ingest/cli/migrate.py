"""`arrow-ingest migrate`: the lake's own tables of arrow_ingest to the layout of this version."""

from dataclasses import dataclass

import click

from arrow_ingest.cli.exits import Exit
from arrow_ingest.cli.options import Common, common
from arrow_ingest.cli.output import print_json, print_people
from arrow_ingest.config import LakeConfig
from arrow_ingest.lake.catalog import catalog_of
from arrow_ingest.lake.session import open_lake
from arrow_ingest.lake.tables import LAYOUT_VERSION, layout_version
from arrow_ingest.lake.tables import migrate as migrate_tables


@dataclass(frozen=True, slots=True)
class _Moved:
    """A lake's layout before and after; None: there is no lake yet."""

    catalog: str
    was: int | None
    layout: int | None

    @property
    def is_old(self) -> bool:
        return self.was is not None and self.was < LAYOUT_VERSION

    def __str__(self) -> str:
        if self.was is None:
            return f"{self.catalog}: there is no lake yet"
        now = "" if self.was == self.layout else f", and is {self.layout} now"
        return f"{self.catalog}: its layout was {self.was}{now}; this version's is {LAYOUT_VERSION}"


@click.command()
@click.argument("pipelines", nargs=-1)
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 if a lake has an older layout.")
@common
@click.pass_context
def migrate(ctx: click.Context, options: Common, pipelines: tuple[str, ...], *, check: bool) -> None:
    """Bring the lakes of PIPELINES (default: all) to the layout of this version's own tables, in one transaction each.

    This version works with older layouts too, and moves a lake by itself when it needs to. Migrate once nobody will go
    back: from then on versions that do not know the layout refuse the lake, and say so. Rows are not touched.
    """
    lakes = {config.lake.catalog: config.lake for config in options.pipelines(pipelines)}
    found = [_moved(lake, check=check) for lake in lakes.values()]
    if options.as_json:
        print_json(found)
    else:
        print_people(*map(str, found))
    ctx.exit(Exit.FINDING if check and any(lake.is_old for lake in found) else Exit.OK)


def _moved(lake: LakeConfig, *, check: bool) -> _Moved:
    if not catalog_of(lake).exists():
        return _Moved(lake.catalog, None, None)
    with open_lake(lake, read_only=check) as session:
        was = layout_version(session)
        return _Moved(lake.catalog, was, was if check or was is None else migrate_tables(session)[1])
