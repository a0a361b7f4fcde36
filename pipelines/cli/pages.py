"""Pages to look at in a browser."""

from typing import Annotated

import typer

from pipelines import paths

app = typer.Typer()


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000) -> None:
    """Serve MLflow's pages of this project's runs. It prints the addresses that answer the usual questions."""
    from pipelines.ui import serve_ui

    raise typer.Exit(serve_ui(port))


@app.command()
def serve(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="models:/NAME@ALIAS|models:/NAME/VERSION",
            help="Without it, the champion of register.model_name in params.yaml.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 8000,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name by which clients may ask, beside 127.0.0.1 and localhost.")
    ] = None,
    max_images: Annotated[int, typer.Option(min=1, max=256, help="Most images in one request.")] = 64,
    max_pixels: Annotated[int, typer.Option(min=1, help="Most pixels of an image to translate; more take longer.")] = 1
    << 20,
    max_truncation: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Highest scale of latents; lower is less varied.")
    ] = 1.0,
    min_rejection: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Least share of samples that the critic refuses.")
    ] = 0.0,
    max_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Most requests of one address; without it, any number.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option(min=0.1, help="Seconds for a request to arrive and for its images to be made.")
    ] = 30.0,
    check_every_s: Annotated[
        float, typer.Option(min=0.1, help="Seconds between looks whether the alias has moved.")
    ] = 10.0,
) -> None:
    """Serve a registered generator or translator. It has a page, images as PNG, MLflow's /invocations, and metrics."""
    from ganlib.config import load_config
    from pipelines.serving.limits import Limits
    from pipelines.serving.serving import serve_model

    serve_model(
        model or f"models:/{load_config(paths.PARAMS).register_.model_name}@champion",
        host=host,
        port=port,
        allowed_hosts=allow_host or (),
        limits=Limits(
            images=max_images,
            pixels=max_pixels,
            truncation=max_truncation,
            rejection=min_rejection,
            requests_per_minute=max_per_minute,
            timeout_s=timeout_s,
        ),
        check_every_s=check_every_s,
    )
