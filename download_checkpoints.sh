#!/usr/bin/env bash
# Fetches the published checkpoints into checkpoints/published/{clevr6,multi_dsprites,tetrominoes}/.
#
# Usage: ./download_checkpoints.sh [URL]
#
# Needs curl or wget, and unzip or python3. Run it again to resume a download that broke off; where
# everything is in place already, it changes nothing.
set -euo pipefail
cd "$(dirname "$0")"

url=${1:-${IODINE_CHECKPOINTS_URL:-https://storage.googleapis.com/deepmind-research-iodine/iodine_checkpoints.zip}}
names="clevr6 multi_dsprites tetrominoes"
published=checkpoints/published
archive=$published/iodine_checkpoints.zip
partial=$archive.part
unpacked=$published/.unpacked

fail() {
    echo "error: $*" >&2
    exit 1
}

have() {
    command -v "$1" > /dev/null
}

download() {
    if have curl; then
        curl --fail --location --continue-at - --output "$partial" "$url"
    elif have wget; then
        wget --continue --output-document="$partial" "$url"
    else
        fail "neither curl nor wget is there, please install one of them"
    fi
}

# The three ways to look at a zip file $1: check every entry's checksum, list names, unpack into $2.
if have unzip; then
    is_whole() { unzip -tqq "$1" > /dev/null 2>&1; }
    list_entries() { unzip -Z1 "$1" 2> /dev/null; }
    unpack() { unzip -q "$1" -d "$2" < /dev/null; }
elif have python3; then
    zip_python() { python3 -c "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); $1" "${@:2}"; }
    is_whole() { zip_python "sys.exit(z.testzip() is not None)" "$1" 2> /dev/null; }
    list_entries() { zip_python "print(*z.namelist(), sep='\n')" "$1" 2> /dev/null; }
    unpack() { python3 -m zipfile -e "$1" "$2"; }
else
    fail "neither unzip nor python3 is there, please install one of them"
fi

# Says of a zip file $1 what speaks against unpacking it, or nothing.
find_defect() {
    if ! entries=$(list_entries "$1"); then
        echo "is no whole zip file"
    elif grep -qE '^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)' <<< "$entries"; then
        echo "has entries with absolute paths or '..'"
    elif ! is_whole "$1"; then
        echo "is damaged"
    fi
}

fetch() {
    if [ ! -e "$partial" ] || [ -n "$(find_defect "$partial")" ]; then
        download || fail "could not fetch $url
What has arrived is kept: run this script again to resume, or delete $partial to start over.
Where the host cannot be reached, fetch the file with another machine, put it at
$archive and run this script again."
    fi
    defect=$(find_defect "$partial")
    if [ -n "$defect" ]; then
        rm "$partial"
        fail "what $url gives $defect; nothing was unpacked"
    fi
    mv "$partial" "$archive"
}

install() {
    defect=$(find_defect "$archive")
    [ -z "$defect" ] || fail "$archive $defect; delete it and run this script again"
    rm -rf "$unpacked"
    mkdir "$unpacked"
    trap 'rm -rf "$unpacked"' EXIT
    unpack "$archive" "$unpacked"
    for name in $names; do
        [ -e "$unpacked/checkpoints/$name/model.ckpt.index" ] \
            || fail "$archive has no checkpoints/$name/model.ckpt.index"
    done
    [ -z "$(find "$unpacked" -type l)" ] || fail "$archive has links among its entries"
    for name in $names; do
        mkdir -p "$published/$name"
        [ -e "$published/$name/model.ckpt.index" ] \
            || mv "$unpacked/checkpoints/$name/"* "$published/$name/"
    done
}

is_installed() {
    for name in $names; do
        [ -e "$published/$name/model.ckpt.index" ] || return 1
    done
}

mkdir -p "$published"
if ! is_installed; then
    [ -e "$archive" ] || fetch
    install
fi
echo "The published checkpoints are in $published. To use them, convert them:"
for name in $names; do
    echo "  python -m iodine.main convert with $name" \
        "reference_checkpoint=$published/$name/model.ckpt checkpoint_dir=checkpoints/$name"
done
