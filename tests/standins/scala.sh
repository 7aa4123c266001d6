#!/usr/bin/env bash
# Scala @VERSION@: runs @MAIN@. A stand-in for the script of that name, made by Orchard's tests/standins.
# It knows JAVA_HOME, JAVACMD, JAVA_OPTS, SCALA_HOME and the options -J…, -D…, -cp and -toolcp.
set -u

here=$0
while [ -L "$here" ]; do
  link=$(readlink "$here")
  case $link in
    /*) here=$link ;;
    *) here=$(dirname "$here")/$link ;;
  esac
done
SCALA_HOME=${SCALA_HOME:-$(cd "$(dirname "$here")/.." && pwd -P)}

if [ -z "${JAVACMD:-}" ]; then
  if [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ]; then
    JAVACMD=$JAVA_HOME/bin/java
  else
    JAVACMD=java
  fi
fi

tools=
for jar in "$SCALA_HOME"/lib/*.jar; do
  tools=${tools:+$tools:}$jar
done

read -r -a java_options <<<"${JAVA_OPTS:--Xmx256M -Xms32M}"
program=()
while [ $# -gt 0 ]; do
  case $1 in
    --) program+=("$@") && break ;;
    -D*)
      java_options+=("$1")
      program+=("$1")
      ;;
    -J*) java_options+=("${1#-J}") ;;
    -toolcp | -toolcp:*)
      if [ "$1" = -toolcp ] && [ $# -gt 1 ]; then shift && tools=$tools:$1; else tools=$tools:${1#-toolcp:}; fi
      ;;
    *) program+=("$1") ;;
  esac
  shift
done

# The REPL changes the terminal's settings; they are as before afterwards, also when it dies.
saved=$(stty -g 2>/dev/null || true)
restore() { [ -z "$saved" ] || stty "$saved" 2>/dev/null || true; }
trap restore INT TERM EXIT

"$JAVACMD" "${java_options[@]}" -Xbootclasspath/a:"$tools" -classpath "" \
  -Dscala.home="$SCALA_HOME" -Dscala.usejavacp=true @MAIN@ ${program[@]+"${program[@]}"}
