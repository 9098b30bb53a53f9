#!/bin/sh
### BEGIN INIT INFO
# Provides:          gatepost
# Required-Start:    $remote_fs $network $named
# Required-Stop:     $remote_fs $network
# Should-Start:      postfix dovecot
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: gatepost, the SMTP front end
# Description:       Serves SMTP on port 25 in front of the mail server.
### END INIT INFO

# /etc/init.d/gatepost. The file of the process id has the time of its start beside it, so that a process which has got the same
# number since is neither taken for gatepost nor sent a signal.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CONFIG=/etc/gatepost/gatepost.toml
PIDFILE=/run/gatepost.pid
LOG=/var/log/gatepost.log
# Seconds. Sessions have a minute to end by gatepost's own clock.
READY_WITHIN=60
STOPPED_WITHIN=90
# shellcheck disable=SC1091 # a file of the admin's, where there is one
if [ -r /etc/default/gatepost ]; then . /etc/default/gatepost; fi

# The time at which process $1 has started, in the kernel's units; nothing when there is none. It is the 22nd field of stat, the 20th
# behind the name, which is in parentheses.
started() {
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # shellcheck disable=SC2086 # fields
  set -- ${stat##*)}
  # A zombie has ended.
  [ "$1" != Z ] && echo "${20}"
}

# Whether the gatepost of the file runs. Sets pid.
running() {
  pid='' since=''
  [ -r "$PIDFILE" ] && read -r pid since <"$PIDFILE"
  [ -n "$pid" ] && [ -n "$since" ] && [ "$(started "$pid")" = "$since" ]
}

# Waits at most $1 seconds until the command behind it succeeds.
within() {
  tenths=$(($1 * 10))
  shift
  until "$@"; do
    [ $((tenths -= 1)) -ge 0 ] || return 1
    sleep 0.1
  done
}

not_running() { ! running; }
ready_or_ended() { not_running || tail -c +"$((before + 1))" "$LOG" | grep -q 'launcher.*ready'; }

start() {
  if running; then
    echo "gatepost is running already (process $pid)"
    return 0
  fi
  umask 077
  touch "$LOG" && before=$(wc -c <"$LOG") || return 4
  # Not the lock: it would be held as long as gatepost runs.
  (cd / && exec setsid gatepost serve --config "$CONFIG" </dev/null >>"$LOG" 2>&1 9>&-) &
  echo "$! $(started $!)" >"$PIDFILE.new" && mv "$PIDFILE.new" "$PIDFILE" || return 4
  within "$READY_WITHIN" ready_or_ended
  if not_running; then
    tail -c +"$((before + 1))" "$LOG" >&2
    rm -f "$PIDFILE"
    return 1
  fi
}

stop() {
  if running; then
    kill -TERM "$pid"
    if ! within "$STOPPED_WITHIN" not_running; then
      # Its roles end with it.
      kill -KILL "$pid"
      within 10 not_running || return 1
    fi
  fi
  rm -f "$PIDFILE"
}

reload() {
  running || return 7
  kill -HUP "$pid"
}

# One at a time.
exec 9>"$PIDFILE.lock" && flock 9 || exit 4

case "$1" in
start | stop) "$1" ;;
restart) stop && start ;;
try-restart) if running; then stop && start; fi ;;
reload) reload ;;
force-reload) if running; then reload; else start; fi ;;
status)
  if running; then
    echo "gatepost is running (process $pid)"
  elif [ -e "$PIDFILE" ]; then
    echo "gatepost has ended, and $PIDFILE is left"
    exit 1
  else
    echo "gatepost is not running"
    exit 3
  fi
  ;;
*)
  echo "usage: $0 start|stop|restart|try-restart|reload|force-reload|status" >&2
  exit 2
  ;;
esac
