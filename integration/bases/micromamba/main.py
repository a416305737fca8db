"""What ibuild's tests need of micromamba's command line, done by rattler.

rattler (py-rattler on PyPI) is a conda client: it reads channels, solves and
installs. This file only reads arguments and environment files. What it does
not know it refuses.
"""

import argparse
import asyncio
import os
import pathlib
import shutil
import sys

import rattler
from rattler.exceptions import GatewayError, SolverError


class Refusal(Exception):
    """Something that the user has to change."""


def arguments():
    parser = argparse.ArgumentParser(prog="micromamba", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"py-rattler {rattler.__version__} (not micromamba)")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("-y", "--yes", action="store_true")
    shared.add_argument("-q", "--quiet", action="store_true")
    shared.add_argument("-r", "--root-prefix", default=os.environ.get("MAMBA_ROOT_PREFIX", "/opt/conda"))
    shared.add_argument("--no-rc", action="store_true")  # this program reads no rc files anyway
    target = argparse.ArgumentParser(add_help=False)
    place = target.add_mutually_exclusive_group()
    place.add_argument("-p", "--prefix")
    place.add_argument("-n", "--name")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ["create", "install"]:
        command = commands.add_parser(name, parents=[shared, target], allow_abbrev=False)
        command.add_argument("-c", "--channel", action="append", default=[])
        command.add_argument("--override-channels", action="store_true")  # only those named are used anyway
        command.add_argument("--channel-priority", choices=["strict", "flexible", "disabled"], default="flexible")
        command.add_argument("--strict-channel-priority", dest="channel_priority", action="store_const", const="strict")
        command.add_argument("--platform", default=str(rattler.Subdir.current()))
        command.add_argument("-f", "--file", action="append", default=[])
        command.add_argument("specs", nargs="*")
    commands.add_parser("list", parents=[shared, target], allow_abbrev=False)
    clean = commands.add_parser("clean", parents=[shared], allow_abbrev=False)
    clean.add_argument("-a", "--all", action="store_true", required=True)
    run = commands.add_parser("run", parents=[shared, target], allow_abbrev=False)
    run.add_argument("argv", nargs=argparse.REMAINDER)
    return parser.parse_args()


def prefix_of(options):
    if options.prefix:
        return pathlib.Path(options.prefix).absolute()
    name = options.name or os.environ.get("CONDA_DEFAULT_ENV", "base")
    root = pathlib.Path(options.root_prefix)
    return root if name == "base" else root / "envs" / name


def read_environment(path, options):
    """Adds the channels and packages of an environment file to the options."""
    if pathlib.Path(path).suffix not in [".yml", ".yaml"]:
        raise Refusal(f"{path}: this stand-in reads .yml and .yaml files only")
    from ruamel.yaml import YAML

    document = YAML(typ="safe", pure=True).load(pathlib.Path(path).read_text())
    unknown = set(document) - {"name", "channels", "dependencies"}
    if unknown:
        raise Refusal(f"{path}: this stand-in does not know {', '.join(sorted(unknown))}")
    options.channel += [c for c in document.get("channels", []) if c != "nodefaults"]
    for dependency in document.get("dependencies", []):
        if not isinstance(dependency, str):
            raise Refusal(f"{path}: this stand-in cannot install pip's packages")
        options.specs.append(dependency)
    if document.get("name") and not options.prefix and not options.name:
        options.name = document["name"]


async def install(options):
    for path in options.file:
        read_environment(path, options)
    prefix = prefix_of(options)
    if options.command == "create" and (prefix / "conda-meta").is_dir():
        shutil.rmtree(prefix)
    if options.command == "install" and not prefix.is_dir():
        raise Refusal(f"no environment in {prefix}: create it first")
    if not options.channel:
        raise Refusal("this stand-in needs --channel")
    present = rattler.PrefixRecord.from_path  # what is installed stays, where the wishes allow it
    installed = [present(file) for file in sorted((prefix / "conda-meta").glob("*.json"))]
    priority = rattler.ChannelPriority.Disabled if options.channel_priority == "disabled" else rattler.ChannelPriority.Strict
    records = await rattler.solve(
        sources=options.channel,
        specs=options.specs + [record.name.normalized for record in installed],
        platforms=[options.platform, "noarch"],
        locked_packages=installed,
        virtual_packages=rattler.VirtualPackage.detect(),
        channel_priority=priority,
    )
    await rattler.install(
        records,
        target_prefix=prefix,
        cache_dir=pathlib.Path(options.root_prefix) / "pkgs",
        platform=rattler.Subdir(options.platform),
        execute_link_scripts=True,
        show_progress=False,
    )
    if not options.quiet:
        for record in sorted(records, key=lambda r: r.name.normalized):
            print("+", record.name.normalized, record.version, record.build)


def show(options):
    for file in sorted((prefix_of(options) / "conda-meta").glob("*.json")):
        record = rattler.PrefixRecord.from_path(file)
        print(record.name.normalized, record.version, record.build)


def run(options):
    prefix = prefix_of(options)
    if not options.argv:
        raise Refusal("run what?")
    os.environ["CONDA_PREFIX"] = str(prefix)
    os.environ["PATH"] = f"{prefix}/bin:{os.environ.get('PATH', '')}"
    sys.stdout.flush()
    os.execvp(options.argv[0], options.argv)


def perform(options):
    try:
        if options.command in ["create", "install"]:
            asyncio.run(install(options))
        elif options.command == "list":
            show(options)
        elif options.command == "clean":
            shutil.rmtree(pathlib.Path(options.root_prefix) / "pkgs", ignore_errors=True)
        else:
            run(options)
    except (Refusal, SolverError, GatewayError, OSError) as error:
        print(f"error    {error}", file=sys.stderr)
        return 1
    return 0


def main():
    for name in ["PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"]:
        os.environ.pop(name, None)  # they are this program's, not of what it starts
    code = perform(arguments())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # an orderly end races with rattler's threads


main()
