"""One run, whole: the sections and what must hold between them."""

from collections.abc import Iterator
from typing import Annotated, Self, cast

from pydantic import Field, model_validator

from ganlib.config.augmentation import AdaOptions, AdaptiveControl, AugmentationOptions
from ganlib.config.base import PRETRAINED, ExtractorName, Options, PretrainedName, Schedule
from ganlib.config.data import DataOptions, PreprocessOptions
from ganlib.config.losses import GanOptions, LossOptions, StylesOptions, UnpairedOptions, VaeOptions
from ganlib.config.networks import CycleganOptions, DcganOptions, NetworkOptions, StarganOptions
from ganlib.config.stages import (
    FEATURES,
    INCEPTION_CLASSES,
    EvaluateOptions,
    ExtractorOptions,
    FlowOptions,
    RegisterOptions,
    TrackingOptions,
    least_images,
)
from ganlib.config.training import OptimizerOptions, TrainOptions
from ganlib.config.translation import ClassesOptions, ColouriseOptions, StyleInputsOptions, classes_of, kinds_of


class RunConfig(Options):
    """One run, whole."""

    data: DataOptions
    preprocess: PreprocessOptions
    extractor: ExtractorOptions
    network: NetworkOptions
    loss: LossOptions
    augmentation: AugmentationOptions
    train: TrainOptions
    evaluate: EvaluateOptions
    register_: Annotated[RegisterOptions, Field(alias="register")]
    tracking: TrackingOptions
    flow: FlowOptions

    @model_validator(mode="after")
    def _network_fits(self) -> Self:
        self.network.check_size(self.data.image_size)
        if isinstance(self.loss, GanOptions) and self.loss.penalised and self.network.couples_samples:
            raise ValueError(
                "loss.r1, loss.r2 and loss.gradient_penalty need a critic whose samples are independent: "
                "set network.critic_norm to spectral or none, and network.critic_pretrained to null if "
                "network.conditional is false, or the weights to 0"
            )
        return self

    @model_validator(mode="after")
    def _heuristic_has_a_meaning(self) -> Self:
        policy = self.augmentation.critic
        adaptive = isinstance(policy, AdaOptions) and isinstance(policy.control, AdaptiveControl)
        if adaptive and isinstance(self.loss, GanOptions) and self.loss.adversarial in ("wasserstein", "relativistic"):
            raise ValueError(
                "augmentation.critic.control.kind=adaptive reads the sign of the critic's logits, which means nothing "
                f"for loss.adversarial={self.loss.adversarial}; set the kind to scheduled or choose another loss"
            )
        return self

    @model_validator(mode="after")
    def _translator_is_whole(self) -> Self:
        """Objective, network and inputs of a translator come together or not at all."""
        objective, family = "paired", "unet"
        if isinstance(self.loss, UnpairedOptions) or isinstance(self.network, CycleganOptions):
            objective, family = "unpaired", "cyclegan"
        if isinstance(self.loss, StylesOptions) or isinstance(self.network, StarganOptions):
            objective, family = "styles", "stargan"
        asked = {
            f"loss.objective={objective}": self.loss.objective == objective,
            f"network.family={family}": self.network.family == family,
            "data.inputs (not null)": self.data.inputs is not None,
        }
        if len(set(asked.values())) > 1:
            found, lacking = ([name for name, there in asked.items() if there is wanted] for wanted in (True, False))
            raise ValueError(f"{' and '.join(found)}: a translator also needs {' and '.join(lacking)}")
        wrong = [name for name, value in self._what_a_translator_lacks() if value] if self.data.inputs else []
        if wrong:
            raise ValueError(f"{' and '.join(wrong)}: not with a translator; set each to null, none, [] or false")
        return self

    @model_validator(mode="after")
    def _inputs_suit_the_objective(self) -> Self:
        """Pairs, two kinds of images, or styles."""
        inputs, loss = self.data.inputs, self.loss
        if isinstance(loss, StylesOptions) != isinstance(inputs, StyleInputsOptions):
            raise ValueError(
                f"loss.objective={loss.objective} and data.inputs.kind={inputs.kind if inputs else None}: the kinds "
                "styles and class_styles go with the objective styles and network.family=stargan; change one of them"
            )
        if isinstance(self.network, StarganOptions) and inputs and self.network.styles != len(kinds_of(inputs)):
            raise ValueError(
                f"network.styles={self.network.styles}: data.inputs has {len(kinds_of(inputs))} "
                f"({', '.join(kinds_of(inputs))}); change one of them"
            )
        if isinstance(inputs, ClassesOptions) and not isinstance(loss, UnpairedOptions):
            raise ValueError(
                f"data.inputs.kind=classes has no pairs, loss.objective={loss.objective} needs them; "
                "set it to unpaired, with network.family=cyclegan"
            )
        if isinstance(loss, UnpairedOptions) and self.data.paired:
            raise ValueError(
                f"data.inputs.kind={inputs.kind if inputs else None} has pairs, which loss.objective=unpaired would "
                "not use; set it to paired, with network.family=unet"
            )
        if inputs and classes_of(inputs) and self.data.labels == "none":
            raise ValueError(f"data.inputs.kind={inputs.kind} needs labels, found data.labels=none; set it to auto")
        return self

    @model_validator(mode="after")
    def _batch_falls_into_parts(self) -> Self:
        train = self.train
        self.check_parts(1 if train.devices == "auto" else train.devices)
        if isinstance(self.loss, UnpairedOptions) and 0 < 2 * self.loss.history_images < train.batch_size:
            raise ValueError(
                f"loss.history_images={self.loss.history_images}: expected 0, or {train.batch_size // 2} at least, "
                f"half of train.batch_size={train.batch_size}; change one of them"
            )
        return self

    @property
    def kinds_in_a_batch(self) -> int:
        """How many kinds of images take turns in a batch: 1 where there is nothing to tell apart."""
        apart = isinstance(self.loss, UnpairedOptions | StylesOptions)
        return len(kinds_of(self.data.inputs)) if apart and self.data.inputs else 1

    def _what_a_translator_lacks(self) -> Iterator[tuple[str, object]]:
        """(name, whether it is asked for), of what makes no sense where images follow the inputs."""
        colourless = isinstance(self.data.inputs, ColouriseOptions) and self.data.channels == 1
        yield "data.inputs.kind=colourise with data.channels=1", colourless
        yield "augmentation.critic.policy", self.augmentation.critic.policy != "none"
        yield "train.class_balanced", self.train.class_balanced
        yield "train.encoder", self.train.encoder is not None
        yield "train.init_from", self.train.init_from is not None
        yield "evaluate.accuracy_score_images", self.evaluate.accuracy_score_images is not None
        yield "evaluate.latent.truncations", bool(self.evaluate.latent.truncations)
        yield "evaluate.latent.kept_share", self.evaluate.latent.kept_share is not None
        yield "evaluate.reconstruction.images", self.evaluate.reconstruction.images is not None
        yield "register.guards.memorised_share", self.register_.guards.memorised_share is not None

    @model_validator(mode="after")
    def _vae_has_no_critic(self) -> Self:
        if isinstance(self.loss, VaeOptions):
            wrong = list(self._what_a_vae_lacks())
            if wrong:
                found = ", ".join(f"{name}={value}" for name, value, _ in wrong)
                mend = ", ".join(f"{name} to {expected}" for name, _, expected in wrong)
                raise ValueError(f"{found}: not with loss.objective=vae, which has no critic; set {mend}")
        return self

    @model_validator(mode="after")
    def _one_encoder(self) -> Self:
        if isinstance(self.loss, VaeOptions) and self.train.encoder is not None:
            raise ValueError(
                "train.encoder: loss.objective=vae trains an encoder of its own; set train.encoder to null"
            )
        return self

    def _what_a_vae_lacks(self) -> Iterator[tuple[str, object, str]]:
        """(name, what was found, what to set it to), of what a game has."""
        if self.critic_pretrained is not None:
            yield "network.critic_pretrained", self.critic_pretrained, "null"
        if self.augmentation.critic.policy != "none":
            yield "augmentation.critic.policy", self.augmentation.critic.policy, "none"
        if self.train.critic_steps != 1:
            yield "train.critic_steps", self.train.critic_steps, "1"
        if self.train.reuse_fakes:
            yield "train.reuse_fakes", "true", "false"
        if self.train.init_from is not None:
            yield "train.init_from.source", self.train.init_from.source, "a start at random (train.init_from: null)"
        if self.train.alarms.critic_won is not None:
            yield "train.alarms.critic_won", self.train.alarms.critic_won, "null"
        if self.evaluate.latent.kept_share is not None:
            yield "evaluate.latent.kept_share", self.evaluate.latent.kept_share, "null"
        if self.evaluate.reconstruction.feature_weight:
            yield "evaluate.reconstruction.feature_weight", self.evaluate.reconstruction.feature_weight, "0"
        if self.train.precision == "fp16":  # each network has its own scaler of the loss
            yield "train.precision", "fp16", "bf16"

    @model_validator(mode="after")
    def _graph_can_be_captured(self) -> Self:
        if self.train.cuda_graph:
            for name, found, expected in self._what_no_graph_holds():
                raise ValueError(
                    f"train.cuda_graph=true needs {name} to be {expected}, found {found}; "
                    "change it or set train.cuda_graph to false"
                )
        return self

    def _what_no_graph_holds(self) -> Iterator[tuple[str, object, str]]:
        """(name, what was found, what a CUDA graph needs), for what would be frozen in a graph or break it."""
        train = self.train
        for name in ("generator_optimizer", "critic_optimizer"):
            optimizer: OptimizerOptions = getattr(train, name)
            for beta in ("beta1", "beta2"):
                if isinstance(getattr(optimizer, beta), Schedule):
                    yield f"train.{name}.{beta}", "a schedule", "a constant"

    @model_validator(mode="after")
    def _metric_is_measured(self) -> Self:
        metric, extractor = self.register_.metric, self.evaluate.extractor
        # Only the domain classifier knows the data set's classes.
        measured_with = "domain" if self.register_.figure == "label_fidelity" else extractor
        if not metric.startswith(f"{measured_with}/"):
            raise ValueError(
                f"register.metric={metric} is not measured with evaluate.extractor={extractor}; "
                f"expected {measured_with}/{self.register_.figure}, or a metric of that extractor"
            )
        if self.register_.figure == "is" and extractor not in ("domain", "inception"):
            raise ValueError(f"register.metric={metric}: {extractor} knows no classes, domain and inception do")
        if self.register_.figure == "diversity":
            raise ValueError(
                f"register.metric={metric}: 1 is best, so neither more nor less wins; choose another metric"
            )
        if self.register_.figure == "label_fidelity" and not self.network.conditional:
            raise ValueError(f"register.metric={metric} needs network.conditional=true; choose another metric")
        return self

    @model_validator(mode="after")
    def _gate_has_enough_samples(self) -> Self:
        least, _ = self.images_for_the_gate
        if self.evaluate.samples < least:
            raise ValueError(
                f"evaluate.samples={self.evaluate.samples} is too few for register.metric={self.register_.metric}, "
                f"whose interval needs {least} generated images; raise it{self._or_kid}"
            )
        return self

    @property
    def asking_for_domain(self) -> tuple[str, ...]:
        """The parameters that need a classifier of the data's own classes."""
        asked = {
            "train.extractor": self.train.extractor,
            "evaluate.extractor": self.evaluate.extractor,
            "register.metric": self.register_.metric.partition("/")[0],
        }
        return tuple(name for name, extractor in asked.items() if extractor == "domain")

    @property
    def _or_kid(self) -> str:
        return "" if self.register_.figure == "kid" else ", or choose kid"

    @property
    def images_for_the_gate(self) -> tuple[int, int]:
        """How many generated and how many held-out ones the interval of the gate's figure needs, at least."""
        figure = self.register_.figure
        features = FEATURES.get(self.evaluate.extractor, self.extractor.feature_dim)
        least = least_images(figure, features=features, neighbours=self.evaluate.neighbours)
        if figure == "is" and self.evaluate.extractor == "inception":
            least = 2 * INCEPTION_CLASSES
        return least, 0 if figure in ("is", "label_fidelity") else least

    def check_parts(self, devices: int) -> None:
        """See that each part of a batch has as many images of each kind, and whole groups of those that are compared.

        Raises:
            ValueError: it has not, on so many devices.
        """
        train, kinds, group = self.train, self.kinds_in_a_batch, self.network.compared_images
        parts = devices * train.accumulation
        for size, why in (
            (kinds, f"with loss.objective={self.loss.objective} each part has as many images of each of {kinds} kinds"),
            (group, f"with network.critic_pretrained and no labels images are compared in groups of {group}"),
        ):
            if train.batch_size % (size * parts):
                raise ValueError(
                    f"train.batch_size={train.batch_size}: {why}, expected a multiple of {size * parts} for "
                    f"train.devices={devices} and train.accumulation={train.accumulation}; change one of them"
                )

    @property
    def critic_pretrained(self) -> PretrainedName | None:
        """The frozen network that the critic sees with; None: the pixels alone."""
        return self.network.critic_pretrained if isinstance(self.network, DcganOptions) else None

    @model_validator(mode="after")
    def _nobody_is_flattered(self) -> Self:
        """A generator that learns to please certain features does better in them than to the eye."""
        seen = self.critic_pretrained
        judges = {"train.extractor": self.train.extractor, "evaluate.extractor": self.evaluate.extractor}
        wrong = [name for name, extractor in judges.items() if seen is not None and extractor == seen]
        if wrong:
            raise ValueError(
                f"{' and '.join(wrong)}={seen}: the critic learns from the same features, which flatter its generator; "
                "set it to domain (labelled data), inception or random, or network.critic_pretrained to null"
            )
        return self

    @property
    def asking_for_weights(self) -> dict[str, PretrainedName]:
        """The parameters that need a pretrained network, and which."""
        asked: dict[str, ExtractorName | None] = {
            "train.extractor": self.train.extractor,
            "evaluate.extractor": self.evaluate.extractor,
            "network.critic_pretrained": self.critic_pretrained,
        }
        return {parameter: cast(PretrainedName, name) for parameter, name in asked.items() if name in PRETRAINED}

    @model_validator(mode="after")
    def _weights_are_known(self) -> Self:
        for parameter, name in self.asking_for_weights.items():
            if name not in self.extractor.weights_sha256:
                raise ValueError(
                    f"extractor.weights_sha256: has no entry for {name}, which {parameter} asks for; "
                    f"add {{{name}: the SHA-256 of its weights, or the first 8 digits}}"
                )
        return self
