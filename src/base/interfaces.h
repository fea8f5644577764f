#pragma once
/* The addresses of this machine. */

#include "base/ip.h"

/* True when `ip` (its port does not count) is an address of this machine now; every loopback address is. */
bool interfaces_have(const struct ip *ip);
