/* By netlink (getifaddrs), which opens no file. Asked anew each time: addresses come and go while a role runs. */
#include "base/interfaces.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

static struct ip address_of(const struct ifaddrs *at)
{
	struct sockaddr_storage address = { 0 };

	if (at->ifa_addr == NULL)
		return (struct ip){ 0 };
	if (at->ifa_addr->sa_family == AF_INET)
		memcpy(&address, at->ifa_addr, sizeof(struct sockaddr_in));
	else if (at->ifa_addr->sa_family == AF_INET6)
		memcpy(&address, at->ifa_addr, sizeof(struct sockaddr_in6));
	return ip_from_sockaddr(&address);
}

bool interfaces_have(const struct ip *ip)
{
	struct ifaddrs *list;
	bool found = ip_is_loopback(ip);

	if (found || getifaddrs(&list) < 0)
		return found;
	for (const struct ifaddrs *at = list; at != NULL && !found; at = at->ifa_next) {
		struct ip own = address_of(at);

		found = own.family != 0 && own.family == ip->family &&
			memcmp(own.bytes, ip->bytes, sizeof own.bytes) == 0;
	}
	freeifaddrs(list);
	return found;
}
