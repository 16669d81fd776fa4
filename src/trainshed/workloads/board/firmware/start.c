/* From reset to main: memory, FPU, a painted stack; and the host's services. */
#include "semihost.h"

enum { OPEN = 0x01, WRITE0 = 0x04, WRITE = 0x05, READ = 0x06, SEEK = 0x0a, EXIT = 0x20 };
enum { APPLICATION_EXIT = 0x20026, PAINT = 0x5afe57ac, FAULT = 99 };

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[];
extern uint32_t stack_start[], stack_end[];

int main(void);

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

uint32_t stack_high_water(void)
{
    const uint32_t *word = stack_start;
    while (word < stack_end && *word == PAINT)
        word++;
    return (uint32_t)((const char *)stack_end - (const char *)word);
}

static void fault(void)
{
    host_print("fault\n");
    host_exit(FAULT);
}

__attribute__((noreturn, used)) static void begin(void)
{
    const uint32_t *from = data_load;
    for (uint32_t *word = data_start; word < data_end;)
        *word++ = *from++;
    for (uint32_t *word = bss_start; word < bss_end;)
        *word++ = 0;
    host_exit((uint32_t)main());
}

/* Without a frame of its own: it paints the whole stack. */
__attribute__((naked, noreturn)) void reset(void)
{
    __asm__ volatile(
        ".syntax unified\n"
#if defined(__ARM_FP)
        "ldr r0, =0xe000ed88\n ldr r1, [r0]\n ldr r2, =0x00f00000\n"
        "orr r1, r1, r2\n str r1, [r0]\n dsb\n isb\n"
#endif
        "ldr r0, =stack_start\n ldr r1, =stack_end\n ldr r2, =0x5afe57ac\n"
        "1: cmp r0, r1\n bcs 2f\n str r2, [r0]\n adds r0, #4\n b 1b\n"
        "2: bl begin\n .ltorg\n");
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_end, reset, fault, fault, fault, fault, fault, fault,
    0,         0,     0,     fault, fault, 0,     fault, fault,
};
