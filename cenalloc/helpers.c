// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the kernel, for the Rust half of cenalloc,
 * which cannot call them itself.
 */

#include <linux/module.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/ratelimit.h>
#include <linux/sched/signal.h>

#include "helpers.h"

/*
 * Buses whose devices can be found by name: those of the kernel itself, and those
 * whose type a kernel exports. The kernel has no lookup of a bus by its name.
 */
static const struct {
	const char *name;
	const struct bus_type *type;
	const char *symbol;
} buses[] = {
	{ "platform", &platform_bus_type },
#ifdef CONFIG_PCI
	{ "pci", &pci_bus_type },
#endif
	{ "amba", .symbol = "amba_bustype" },
	{ "cdx", .symbol = "cdx_bus_type" },
	{ "fsl-mc", .symbol = "fsl_mc_bus_type" },
	{ "host1x-context", .symbol = "host1x_context_device_bus_type" },
	{ "i2c", .symbol = "i2c_bus_type" },
	{ "mipi-dsi", .symbol = "mipi_dsi_bus_type" },
	{ "rapidio", .symbol = "rio_bus_type" },
	{ "soundwire", .symbol = "sdw_bus_type" },
	{ "spi", .symbol = "spi_bus_type" },
	{ "tee", .symbol = "tee_bus_type" },
};

#ifdef CONFIG_MODULES
static const struct bus_type *bus_type_get(const char *symbol)
{
	return __symbol_get(symbol);
}

/* Not symbol_put_addr(), which takes functions alone. */
static void bus_type_put(const char *symbol)
{
	__symbol_put(symbol);
}
#else
/* Without modules there are no names of symbols. */
static const struct bus_type *bus_type_get(const char *symbol)
{
	return NULL;
}

static void bus_type_put(const char *symbol)
{
}
#endif

/*
 * Returns a device with a reference, or NULL. Tells whether the kernel has the bus, and finds
 * devices on it by name.
 */
struct device *cenalloc_find_device(const char *bus, const char *name, bool *has_bus)
{
	struct device *dev;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(buses); i++) {
		const struct bus_type *type = buses[i].type;

		if (strcmp(buses[i].name, bus))
			continue;
		if (!type)
			type = bus_type_get(buses[i].symbol);
		if (!type)
			return NULL;
		*has_bus = true;
		dev = bus_find_device_by_name(type, NULL, name);
		if (buses[i].symbol)
			bus_type_put(buses[i].symbol);
		return dev;
	}
	return NULL;
}

/*
 * Takes a reference to a module, unless it is being unloaded or still
 * initialises: where that fails, the kernel frees it in spite of references.
 * Built-in code has no module.
 */
bool cenalloc_module_get(struct module *module)
{
#ifdef CONFIG_MODULES
	if (module && module->state != MODULE_STATE_LIVE)
		return false;
#endif
	return try_module_get(module);
}

/* Without modules there is no such function. */
void cenalloc_module_put(struct module *module)
{
	module_put(module);
}

bool cenalloc_killed(void)
{
	return fatal_signal_pending(current);
}

/*
 * Tells whether a message about bad input may be logged now. Messages that are
 * suppressed are not counted: debugfs shows the last refusal.
 */
bool cenalloc_may_log(void)
{
	static struct ratelimit_state limit =
		RATELIMIT_STATE_INIT_FLAGS("cenalloc", DEFAULT_RATELIMIT_INTERVAL,
					   DEFAULT_RATELIMIT_BURST,
					   RATELIMIT_MSG_ON_RELEASE);

	return __ratelimit(&limit);
}
