/* From reset to main: memory, FPU, a painted stack. */
#include "semihost.h"

enum { PAINT = 0x5afe57ac, FAULT = 99 };

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[];
extern uint32_t stack_start[], stack_end[];

int main(void);

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
