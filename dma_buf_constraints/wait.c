// SPDX-License-Identifier: GPL-2.0
/*
 * Waiting for a buffer, or for a driver that unbinds.
 */

#include <linux/jiffies.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

#include "helpers.h"

/* Waiters for any buffer, who are woken when a driver unbinds. */
static DECLARE_WAIT_QUEUE_HEAD(unbinds);

void dbc_wait_init(struct wait_queue_head *queue)
{
	init_waitqueue_head(queue);
}

void dbc_wake(struct wait_queue_head *queue)
{
	wake_up_all(queue);
}

void dbc_wake_for_unbind(void)
{
	wake_up_all(&unbinds);
}

/*
 * Waits until one of two counters is not as it was seen, for at most @timeout jiffies.
 * Returns how many are left, 0 for none, or -ERESTARTSYS where a signal comes first.
 */
long dbc_wait(struct wait_queue_head *queue, const size_t *events, size_t seen,
	      const size_t *unbound, size_t seen_unbound, long timeout)
{
	DEFINE_WAIT(of_buffer);
	DEFINE_WAIT(of_unbinds);
	bool changed;

	while (timeout > 0) {
		prepare_to_wait(queue, &of_buffer, TASK_INTERRUPTIBLE);
		prepare_to_wait(&unbinds, &of_unbinds, TASK_INTERRUPTIBLE);
		/* Pairs with the release of who changed the buffer. */
		changed = smp_load_acquire(events) != seen;
		/* Pairs with the release of who let a device go. */
		changed |= smp_load_acquire(unbound) != seen_unbound;
		if (changed)
			break;
		if (signal_pending(current)) {
			timeout = -ERESTARTSYS;
			break;
		}
		timeout = schedule_timeout(timeout);
	}
	finish_wait(&unbinds, &of_unbinds);
	finish_wait(queue, &of_buffer);
	return timeout;
}
