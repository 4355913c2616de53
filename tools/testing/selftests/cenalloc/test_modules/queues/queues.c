// SPDX-License-Identifier: GPL-2.0
/*
 * A V4L2 driver on videobuf2-dma-contig, which imports a buffer that is one range of DMA
 * addresses and no other. Its devices reach memory below 4 GiB. It tells nobody so, and
 * nothing that it registers shows it: each open file has a queue of its own, as with
 * drivers that convert from memory to memory. It does nothing with what is queued.
 *
 * One device is on the platform bus, and each of QEMU's test devices for PCI is one. Their
 * nodes are called as the devices.
 */

#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#include <media/v4l2-dev.h>
#include <media/v4l2-device.h>
#include <media/v4l2-fh.h>
#include <media/v4l2-ioctl.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-v4l2.h>

/* Whoever imports a buffer may have it as long as he likes, but not shorter. */
#define LEAST	PAGE_SIZE

struct camera {
	struct v4l2_device v4l2;
	struct video_device video;
	struct mutex lock;	/* of all its queues */
};

/* An open file. */
struct opened {
	struct v4l2_fh fh;
	struct vb2_queue queue;
};

static struct vb2_queue *queue_of(struct file *file)
{
	return &container_of(file_to_v4l2_fh(file), struct opened, fh)->queue;
}

static int queue_setup(struct vb2_queue *queue, unsigned int *buffers, unsigned int *planes,
		       unsigned int sizes[], struct device *devices[])
{
	*planes = 1;
	sizes[0] = LEAST;
	return 0;
}

static void buf_queue(struct vb2_buffer *buffer)
{
}

static const struct vb2_ops queue_ops = {
	.queue_setup = queue_setup,
	.buf_queue = buf_queue,
};

static int querycap(struct file *file, void *priv, struct v4l2_capability *capability)
{
	strscpy(capability->driver, KBUILD_MODNAME);
	strscpy(capability->card, video_devdata(file)->name);
	return 0;
}

static int g_fmt(struct file *file, void *priv, struct v4l2_format *format)
{
	format->fmt.pix = (struct v4l2_pix_format) {
		.width = LEAST,
		.height = 1,
		.pixelformat = V4L2_PIX_FMT_GREY,
		.field = V4L2_FIELD_NONE,
		.bytesperline = LEAST,
		.sizeimage = LEAST,
		.colorspace = V4L2_COLORSPACE_RAW,
	};
	return 0;
}

static int reqbufs(struct file *file, void *priv, struct v4l2_requestbuffers *request)
{
	return vb2_reqbufs(queue_of(file), request);
}

static int qbuf(struct file *file, void *priv, struct v4l2_buffer *buffer)
{
	return vb2_qbuf(queue_of(file), NULL, buffer);
}

static const struct v4l2_ioctl_ops ioctl_ops = {
	.vidioc_querycap = querycap,
	.vidioc_g_fmt_vid_cap = g_fmt,
	.vidioc_reqbufs = reqbufs,
	.vidioc_qbuf = qbuf,
};

static int camera_open(struct file *file)
{
	struct camera *camera = video_drvdata(file);
	struct opened *opened;
	int ret;

	opened = kzalloc_obj(*opened);
	if (!opened)
		return -ENOMEM;
	opened->queue = (struct vb2_queue) {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.io_modes = VB2_DMABUF,
		.dev = camera->v4l2.dev,
		.lock = &camera->lock,
		.ops = &queue_ops,
		.mem_ops = &vb2_dma_contig_memops,
		.timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
	};
	ret = vb2_queue_init(&opened->queue);
	if (ret) {
		kfree(opened);
		return ret;
	}
	v4l2_fh_init(&opened->fh, &camera->video);
	v4l2_fh_add(&opened->fh, file);
	return 0;
}

static int camera_release(struct file *file)
{
	struct camera *camera = video_drvdata(file);

	scoped_guard(mutex, &camera->lock)
		vb2_queue_release(queue_of(file));
	/* Frees what was opened, too, whose first member it is. */
	return v4l2_fh_release(file);
}

static const struct v4l2_file_operations fops = {
	.owner = THIS_MODULE,
	.open = camera_open,
	.release = camera_release,
	.unlocked_ioctl = video_ioctl2,
};

static int camera_register(struct device *dev)
{
	struct camera *camera;
	int ret;

	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;
	vb2_dma_contig_set_max_seg_size(dev, DMA_BIT_MASK(32));
	camera = devm_kzalloc(dev, sizeof(*camera), GFP_KERNEL);
	if (!camera)
		return -ENOMEM;
	mutex_init(&camera->lock);
	dev_set_drvdata(dev, camera);
	ret = v4l2_device_register(dev, &camera->v4l2);
	if (ret)
		return ret;
	strscpy(camera->video.name, dev_name(dev));
	camera->video.v4l2_dev = &camera->v4l2;
	camera->video.fops = &fops;
	camera->video.ioctl_ops = &ioctl_ops;
	camera->video.device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
	camera->video.lock = &camera->lock;
	camera->video.release = video_device_release_empty;
	video_set_drvdata(&camera->video, camera);
	ret = video_register_device(&camera->video, VFL_TYPE_VIDEO, -1);
	if (ret)
		v4l2_device_unregister(&camera->v4l2);
	return ret;
}

/* No file is open: it would keep the module, and nobody else unbinds the driver. */
static void camera_unregister(struct device *dev)
{
	struct camera *camera = dev_get_drvdata(dev);

	video_unregister_device(&camera->video);
	v4l2_device_unregister(&camera->v4l2);
}

static int platform_probe(struct platform_device *pdev)
{
	return camera_register(&pdev->dev);
}

static void platform_remove(struct platform_device *pdev)
{
	camera_unregister(&pdev->dev);
}

static struct platform_driver platform_driver = {
	.driver.name = KBUILD_MODNAME,
	.remove = platform_remove,
};

static int pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return camera_register(&pdev->dev);
}

static void pci_remove(struct pci_dev *pdev)
{
	camera_unregister(&pdev->dev);
}

static const struct pci_device_id pci_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT, 0x0005) },
	{ }
};

static struct pci_driver pci_driver = {
	.name = KBUILD_MODNAME,
	.id_table = pci_ids,
	.probe = pci_probe,
	.remove = pci_remove,
	.driver.suppress_bind_attrs = true,
};

static struct platform_device *device;

static int __init queues_init(void)
{
	int ret;

	device = platform_create_bundle(&platform_driver, platform_probe, NULL, 0, NULL, 0);
	if (IS_ERR(device))
		return PTR_ERR(device);
	ret = pci_register_driver(&pci_driver);
	if (ret) {
		platform_device_unregister(device);
		platform_driver_unregister(&platform_driver);
	}
	return ret;
}
module_init(queues_init);

static void __exit queues_exit(void)
{
	pci_unregister_driver(&pci_driver);
	platform_device_unregister(device);
	platform_driver_unregister(&platform_driver);
}
module_exit(queues_exit);

MODULE_DESCRIPTION("Test importer on videobuf2-dma-contig");
MODULE_AUTHOR("The cenalloc developers");
MODULE_LICENSE("GPL");
