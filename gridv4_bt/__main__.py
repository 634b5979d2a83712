"""The command `gridv4`, which is also `python -m gridv4_bt`."""

import typer

from gridv4_bt.cli import audit, bias, chaos, compare, data, exchange, optimize, params, regimes
from gridv4_bt.cli.common import run_app

app = typer.Typer(
    help="Tools around GridStrategyV4 backtests.",
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
)  # fmt: skip
app.command("audit")(audit.run_audit)
app.add_typer(bias.app, name="bias")
app.command("chaos")(chaos.run_chaos)
app.command("compare")(compare.compare_runs)
app.add_typer(data.app, name="data")
app.command("exchange")(exchange.run_exchange)
app.command("optimize")(optimize.optimize_space)
app.command("params")(params.show_parameters)
app.command("regimes")(regimes.show_regimes)


def main() -> None:
    """Entry point."""
    run_app(app)


if __name__ == "__main__":
    main()
