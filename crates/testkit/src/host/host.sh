# shellcheck shell=sh
# Becomes PID 1 of a throw-away host. Arguments: a directory to stage on, then directories that must stay visible.
# Runs inside fresh mount, pid, net, ipc and uts namespaces; nothing done here is seen outside of them.
set -eu
stage=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=700 tmpfs "$stage"

n=0
for dir in "$@"; do
  n=$((n + 1))
  mkdir "$stage/keep$n"
  mount --rbind "$dir" "$stage/keep$n"
done
# usr/sbin is where a program under test is installed.
for top in etc var usr/sbin; do
  mkdir -p "$stage/$top/upper" "$stage/$top/work"
  mount -t overlay overlay -o "lowerdir=/$top,upperdir=$stage/$top/upper,workdir=$stage/$top/work" "/$top"
done
mount -t tmpfs -o mode=755 tmpfs /run
# From here on nothing can be missing but by a mistake.
echo mounted
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /run/lock /run/said
n=0
for dir in "$@"; do
  n=$((n + 1))
  mkdir -p "$dir"
  mount --rbind "$stage/keep$n" "$dir"
done

# Two parties on one wire: whoever connects to an address of "here" comes from the matching address of "away".
ip link set lo up
for pair in "203.0.113.25 192.0.2.9" "203.0.113.26 192.0.2.10"; do
  # shellcheck disable=SC2086 # two addresses
  set -- $pair
  ip addr add "$1/32" dev lo
  ip addr add "$2/32" dev lo
  ip route change local "$1" dev lo table local src "$2"
done
ip -6 addr add 2001:db8::25/128 dev lo nodad
ip -6 addr add 2001:db8::9/128 dev lo nodad
# The kernel makes an address's own route a moment after the address.
tries=0
until ip -6 route del local 2001:db8::25 dev lo table local 2>/dev/null; do
  tries=$((tries + 1))
  [ $tries -lt 2000 ] || { echo "no route to 2001:db8::25" >&2; exit 1; }
done
ip -6 route add local 2001:db8::25 dev lo table local metric 1 src 2001:db8::9
hostname throwaway
# The one that the test runs on this network.
rm -f /etc/resolv.conf
printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' > /etc/resolv.conf
printf '127.0.0.1 localhost\n::1 localhost\n' > /etc/hosts

echo ready
# Orphans of the host end up here: ignoring SIGCHLD makes the kernel reap them. The end of standard input is the end
# of the host, so it cannot outlive the test that made it, however that one dies.
exec env --ignore-signal=CHLD cat
