/* The host's services, by the breakpoint that an emulator understands. */
#include "semihost.h"

enum { OPEN = 0x01, WRITE0 = 0x04, WRITE = 0x05, READ = 0x06, SEEK = 0x0a, EXIT = 0x20 };
enum { APPLICATION_EXIT = 0x20026 };

static int32_t host(int32_t operation, const void *argument)
{
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

int32_t host_open(const char *name, int32_t mode)
{
    uint32_t length = 0;
    while (name[length])
        length++;
    uint32_t block[3] = {(uint32_t)name, (uint32_t)mode, length};
    return host(OPEN, block);
}

uint32_t host_read(int32_t file, void *to, uint32_t n_bytes)
{
    uint32_t block[3] = {(uint32_t)file, (uint32_t)to, n_bytes};
    return n_bytes ? (uint32_t)host(READ, block) : 0;
}

void host_write(int32_t file, const void *from, uint32_t n_bytes)
{
    uint32_t block[3] = {(uint32_t)file, (uint32_t)from, n_bytes};
    if (n_bytes)
        host(WRITE, block);
}

void host_seek(int32_t file, uint32_t position)
{
    uint32_t block[2] = {(uint32_t)file, position};
    host(SEEK, block);
}

void host_print(const char *text) { host(WRITE0, text); }

void host_exit(uint32_t code)
{
    uint32_t block[2] = {APPLICATION_EXIT, code};
    host(EXIT, block);
    for (;;)
        ;
}
