"""What the pickle of a fitted model legitimately consists of: the tables behind ``policy``.

Whatever stands in none of them is refused. A class of a table was read before it was put there: its
``__new__`` and ``__setstate__`` read no file, import nothing and run nothing that they are given.
"""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

PLAIN: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "builtins": frozenset(
            {"bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object"}
            | {"range", "set", "slice", "str", "tuple"}
        ),
        "collections": frozenset({"OrderedDict", "defaultdict", "deque"}),
        "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
        "decimal": frozenset({"Decimal"}),
        "fractions": frozenset({"Fraction"}),
    }
)
"""Types of the standard library that neither run code given to them nor reach outside the process."""

CONTAINERS = frozenset({"OrderedDict", "defaultdict", "deque", "dict", "list", "set"})
"""Those of them that a file gives items to."""

_MULTIARRAY = frozenset({"_reconstruct", "scalar"})

REBUILDERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "copyreg": frozenset({"_reconstructor"}),
        "_codecs": frozenset({"encode"}),
        "functools": frozenset({"partial"}),
        "numpy.core.multiarray": _MULTIARRAY,
        "numpy._core.multiarray": _MULTIARRAY,
        "numpy.core.numeric": frozenset({"_frombuffer"}),
        "numpy._core.numeric": frozenset({"_frombuffer"}),
        "numpy.ma.core": frozenset({"_mareconstruct"}),
        "numpy.random._pickle": frozenset({"__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor"}),
        "numpy.random.bit_generator": frozenset({"__pyx_unpickle_SeedSequence"}),
        "pandas._libs.arrays": frozenset({"__pyx_unpickle_NDArrayBacked"}),
        "pandas._libs.internals": frozenset({"_unpickle_block"}),
        "pandas._libs.tslibs.nattype": frozenset({"_nat_unpickle"}),
        "pandas._libs.tslibs.timedeltas": frozenset({"_timedelta_unpickle"}),
        "pandas._libs.tslibs.timestamps": frozenset({"_unpickle_timestamp"}),
        "pandas.core.indexes.base": frozenset({"_new_Index"}),
        "pandas.core.indexes.datetimes": frozenset({"_new_DatetimeIndex"}),
        "pandas.core.indexes.interval": frozenset({"_new_IntervalIndex"}),
        "pandas.core.indexes.timedeltas": frozenset({"_new_TimedeltaIndex"}),
        "pyarrow.lib": frozenset({"_restore_array", "py_buffer", "type_for_alias"}),
        "sklearn._loss._loss": frozenset({"__pyx_unpickle_CyHalfMultinomialLoss"}),
        "sklearn.metrics._dist_metrics": frozenset({"newObj"}),
        "sklearn.neighbors._ball_tree": frozenset({"newObj"}),
        "sklearn.neighbors._kd_tree": frozenset({"newObj"}),
    }
)
"""What a file may call by exact module and name: each rebuilds one object of its own library.

Where one calls or copies what it is given, ``stand_ins`` looks at its arguments.
"""


class Library(Struct, frozen=True):
    """What of one library a fitted model may hold, estimators aside.

    Attributes:
        states: Classes that are made without ``__init__`` and take a state. A subclass counts too, unless it has a
            ``__new__`` of its own in Python: such a one has to be named.
        native: Classes, their subclasses included, that pickle as a call with plain arguments.
        values: Classes and constants, subclasses included, that a model may keep as they are and call.
        calculations: The module that users know, and the functions in it that calculate from arrays alone.
    """

    states: tuple[str, ...] = ()
    native: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    calculations: Mapping[str, frozenset[str]] = MappingProxyType({})


_ARRAY_FUNCTIONS = frozenset(
    {"argmax", "argmin", "argsort", "around", "array", "asarray", "atleast_2d", "average", "clip", "column_stack"}
    | {"concatenate", "cumprod", "cumsum", "diff", "digitize", "full_like", "hstack", "interp", "isin", "max", "mean"}
    | {"median", "min", "nan_to_num", "nanmax", "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanquantile"}
    | {"nanstd", "nansum", "nanvar", "ones_like", "percentile", "prod", "quantile", "ravel", "reshape", "round", "sort"}
    | {"squeeze", "stack", "std", "sum", "transpose", "unique", "var", "vstack", "where", "zeros_like"}
)

_NUMPY = Library(
    states=("numpy.ndarray", "numpy.ma.MaskedArray", "numpy.random.SeedSequence"),
    native=("numpy.random.BitGenerator",),
    values=("numpy.dtype", "numpy.generic"),
    calculations=MappingProxyType({"numpy": _ARRAY_FUNCTIONS}),
)

_SCIPY = Library(
    states=("scipy.sparse._base._spbase", "scipy.interpolate.BSpline", "scipy.interpolate.PPoly"),
    calculations=MappingProxyType(
        {
            "scipy.special": frozenset({"log_softmax", "logsumexp", "softmax"}),
            "scipy.stats": frozenset({"rankdata", "zscore"}),
            "scipy._lib.array_api_compat.numpy": frozenset({"asarray"}),
        }
    ),
)

_PANDAS = Library(
    states=(
        "pandas.DataFrame",
        "pandas.Series",
        "pandas.Index",
        "pandas.CategoricalIndex",
        "pandas.DatetimeIndex",
        "pandas.IntervalIndex",
        "pandas.MultiIndex",
        "pandas.PeriodIndex",
        "pandas.RangeIndex",
        "pandas.TimedeltaIndex",
        "pandas.api.extensions.ExtensionArray",
        "pandas.api.extensions.ExtensionDtype",
        "pandas.core.internals.managers.BaseBlockManager",
    ),
    native=(
        "pandas.Interval",
        "pandas.PeriodDtype",
        "pandas.StringDtype",
        "pandas._libs.internals.BlockManager",
        "pandas._libs.sparse.SparseIndex",
    ),
    values=("pandas.NA",),
    calculations=MappingProxyType(
        {"pandas": frozenset({"cut", "get_dummies", "isna", "isnull", "notna", "notnull", "to_datetime", "to_numeric"})}
    ),
)

_SKLEARN = Library(
    states=(
        "sklearn._loss.link.BaseLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.loss.BaseLoss",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.cluster._birch._CFNode",
        "sklearn.cluster._birch._CFSubcluster",
        "sklearn.cluster._bisect_k_means._BisectingTree",
        "sklearn.compose.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process.kernels.Kernel",
        "sklearn.impute._iterative._ImputerTriplet",
        "sklearn.metrics._dist_metrics.DistanceMetric",
        "sklearn.metrics._scorer._BaseScorer",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.model_selection.BaseCrossValidator",
        "sklearn.model_selection.BaseShuffleSplit",
        "sklearn.model_selection._split._RepeatedSplits",
        "sklearn.neighbors._ball_tree.BinaryTree32",
        "sklearn.neighbors._ball_tree.BinaryTree64",
        "sklearn.neighbors._kd_tree.BinaryTree32",
        "sklearn.neighbors._kd_tree.BinaryTree64",
        "sklearn.neural_network._stochastic_optimizers.BaseOptimizer",
        "sklearn.utils.Bunch",
        "sklearn.utils._metadata_requests.MetadataRequest",
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
    ),
    native=(
        "sklearn._loss._loss.CyHalfMultinomialLoss",
        "sklearn._loss._loss.CyLossFunction",
        "sklearn.tree._tree.Tree",
    ),
    values=("sklearn.model_selection.BaseCrossValidator",),
    calculations=MappingProxyType(
        {
            "sklearn.cluster._kmeans": frozenset({"_kmeans_single_elkan", "_kmeans_single_lloyd"}),
            "sklearn.utils.validation": frozenset({"check_array"}),
        }
    ),
)

LIBRARIES: Mapping[str, Library] = MappingProxyType(
    {
        "lightgbm": Library(states=("lightgbm.Booster",)),
        "numpy": _NUMPY,
        "pandas": _PANDAS,
        "pyarrow": Library(),
        "scipy": _SCIPY,
        "sklearn": _SKLEARN,
        "sksurv": Library(
            states=(
                "sksurv.ensemble.survival_loss.SurvivalLossFunction",
                "sksurv.functions.StepFunction",
                "sksurv.linear_model.coxph.BreslowEstimator",
            )
        ),
        "xgboost": Library(
            states=("xgboost.Booster", "xgboost.callback.EarlyStopping", "xgboost.callback.EvaluationMonitor")
        ),
    }
)

PUBLIC_CALCULATIONS = ("sklearn.feature_selection", "sklearn.metrics", "sklearn.preprocessing")
"""Modules whose published functions, every one, calculate from arrays alone: what estimators score with."""
