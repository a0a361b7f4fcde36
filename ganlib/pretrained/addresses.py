"""Official addresses of the weights of pretrained networks."""

from torch_fidelity.feature_extractor_clip import MODEL_URLS
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torchvision.models import VGG16_Weights

DINOV2 = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{0}14/dinov2_vit{0}14_pretrain.pth"
ADDRESSES: dict[str, str] = {
    "inception": URL_INCEPTION_V3,
    "vgg16": VGG16_Weights.IMAGENET1K_V1.url,
    **MODEL_URLS,
    **{f"dinov2-vit-{size}-14": DINOV2.format(size) for size in "sblg"},
}
