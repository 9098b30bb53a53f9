/* Reads to the end of its input, without a C library, whose start costs more than all else: on a virtual machine it executes CPUID dozens of
   times, each one trapped. What is left is what fork, execve and exit cost. */

static long call(long number, long one, long two, long three) {
#if defined __x86_64__
  long given;
  __asm__ volatile("syscall" : "=a"(given) : "a"(number), "D"(one), "S"(two), "d"(three) : "rcx", "r11", "memory");
  return given;
#elif defined __aarch64__
  register long x8 __asm__("x8") = number, x0 __asm__("x0") = one, x1 __asm__("x1") = two, x2 __asm__("x2") = three;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
  return x0;
#endif
}

#if defined __x86_64__
enum { READ = 0, EXIT = 231 };
#else
enum { READ = 63, EXIT = 94 };
#endif

void _start(void) {
  char octets[64];
  while (call(READ, 0, (long)octets, sizeof octets) > 0) {
  }
  call(EXIT, 0, 0, 0);
}
