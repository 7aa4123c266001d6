#!/bin/sh
# A stand-in for conda, which this installation has not: it answers what scripts ask first, and nothing else.
case "$*" in
  --version | -V) echo "conda 4.10.1" ;;
  "info --base") echo "/opt/anaconda1anaconda2anaconda3" ;;
  *)
    echo "conda: this is a stand-in made for Orchard's tests; it knows --version and info --base." >&2
    exit 2
    ;;
esac
