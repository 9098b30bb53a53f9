# shellcheck shell=sh
# Boots systemd on a throw-away host. Argument: the name of a control group of its own.
set -eu
# /run/groups is where the host keeps the machine's hierarchy; systemd sees only its own part of it.
mkdir -p /run/groups
mount -t cgroup2 cgroup2 /run/groups
mkdir "/run/groups/$1"
echo $$ > "/run/groups/$1/cgroup.procs"

rm -f /etc/machine-id
systemd-machine-id-setup >/dev/null 2>&1
export container=private
exec unshare --pid --fork --kill-child --mount --cgroup --mount-proc sh -c '
  set -e
  mount --make-rprivate /
  umount /run/groups
  umount -R /sys/fs/cgroup 2>/dev/null || true
  mount -t sysfs sysfs /sys 2>/dev/null || true
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mkdir -p /run/systemd /run/lock
  # Nothing of the machine itself may start: only the basic system.
  exec /lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=no
'
