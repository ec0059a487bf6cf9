"""Every layer and activation of Keras in small models: expressions of an input x.

`TAKEN`, `REFUSED` and `NOT_FOR_MODELS` name each layer once. Run this file to print the table in
export/README.md.
"""

SHAPES = {
    "vector": (6,),
    "series": (8, 4),
    "image": (8, 8, 4),
    "picture": (8, 8, 3),
    "volume": (4, 4, 4, 4),
    "whole": (5,),
    "wide": (40,),
}

"""Kinds of samples. Those of `whole` are numbers from 0 to 6; `picture` lies in [0, 1]."""

TAKEN = {
    # cores
    "Dense": [("vector", "Dense(5)(x)"), ("image", "Dense(5, use_bias=False)(x)")],
    "EinsumDense": [
        ("series", "EinsumDense('abc,cd->abd', (None, 5), bias_axes='d')(x)"),
        ("series", "EinsumDense('abc,bd->adc', (5, 4))(x)"),
        ("image", "EinsumDense('...x,xy->...y', (8, 8, 3))(x)"),
    ],
    "Embedding": [
        ("whole", "Embedding(7, 3)(x)"),
        ("whole", "LSTM(3)(Embedding(7, 3, mask_zero=True)(x))"),
        ("whole", "GlobalAveragePooling1D()(Embedding(7, 3, mask_zero=True)(x))"),
    ],
    "ReversibleEmbedding": [
        ("whole", "ReversibleEmbedding(7, 3)(x)"),
        ("whole", "ReversibleEmbedding(7, 3)(ReversibleEmbedding(7, 3)(x), reverse=True)"),
    ],
    "Identity": [("vector", "Identity()(x)")],
    "Lambda": [("vector", "Lambda(lambda t: t * 2 - 1)(x)"), ("image", "Lambda(keras.ops.abs)(x)")],
    "Masking": [
        ("series", "Masking(0.0)(x)"),
        ("series", "LSTM(3)(Masking(0.0)(x * cast(x > -0.5)))"),
        ("series", "GRU(3, return_sequences=True)(Masking(0.0)(x * cast(x[:, :, :1] > -0.3)))"),
    ],
    "TFSMLayer": [("vector", "TFSMLayer(saved_model(), call_endpoint='serve')(x)")],
    "Activation": [("vector", "Activation('tanh')(x)")],
    "ActivityRegularization": [("vector", "ActivityRegularization(0.1)(x)")],
    "InputLayer": [("vector", "x")],
    # activation layers
    "ELU": [("vector", "ELU(0.7)(x)")],
    "LeakyReLU": [("vector", "LeakyReLU(0.2)(x)")],
    "PReLU": [
        ("image", "PReLU('uniform')(x)"),
        ("image", "PReLU('uniform', shared_axes=[1, 2])(x)"),
        ("series", "PReLU('uniform', shared_axes=[1])(x)"),
        ("vector", "PReLU('uniform')(x)"),
        ("volume", "PReLU('uniform', shared_axes=[1, 2, 3])(x)"),
    ],
    "ReLU": [("vector", "ReLU(max_value=1, negative_slope=0.1, threshold=0.2)(x)")],
    "Softmax": [
        ("image", "Softmax()(x)"),
        ("image", "Softmax(axis=1)(x)"),
        ("image", "Softmax(axis=(1, 2))(x)"),
    ],
    # convolutions
    "Conv1D": [
        ("series", "Conv1D(6, 3)(x)"),
        ("series", "Conv1D(6, 3, padding='causal', dilation_rate=2)(x)"),
        ("series", "Conv1D(6, 3, strides=2, padding='same')(x)"),
        ("series", "Conv1D(6, 3, groups=2)(x)"),
        ("series", "Conv1D(6, 3, groups=2, strides=2, padding='causal')(x)"),
        ("series", "Conv1D(6, 3, data_format='channels_first')(x)"),
    ],
    "Conv2D": [
        ("image", "Conv2D(6, 3)(x)"),
        ("image", "Conv2D(6, (3, 2), strides=(2, 1), padding='same')(x)"),
        ("image", "Conv2D(6, 3, dilation_rate=(2, 1), padding='same')(x)"),
        ("image", "Conv2D(6, 3, dilation_rate=2)(x)"),
        ("image", "Conv2D(6, 3, groups=2, padding='same')(x)"),
        ("image", "Conv2D(8, 3, groups=4, strides=2)(x)"),
        ("image", "Conv2D(6, 3, data_format='channels_first')(x)"),
    ],
    "Conv3D": [
        ("volume", "Conv3D(6, 2)(x)"),
        ("volume", "Conv3D(6, 3, strides=2, padding='same')(x)"),
        ("volume", "Conv3D(6, 2, dilation_rate=2)(x)"),
        ("volume", "Conv3D(6, 3, groups=2, padding='same')(x)"),
    ],
    "Conv1DTranspose": [
        ("series", "Conv1DTranspose(3, 3)(x)"),
        ("series", "Conv1DTranspose(3, 3, 2, 'same')(x)"),
        ("series", "Conv1DTranspose(3, 4, 2, 'same')(x)"),
        ("series", "Conv1DTranspose(3, 2, 4, 'same')(x)"),
        ("series", "Conv1DTranspose(3, 2, 4, 'valid')(x)"),
        ("series", "Conv1DTranspose(3, 1, 3, 'same')(x)"),
        ("series", "Conv1DTranspose(3, 3, 2, 'same', output_padding=1)(x)"),
        ("series", "Conv1DTranspose(3, 3, 2, 'valid', output_padding=1)(x)"),
        ("series", "Conv1DTranspose(3, 3, dilation_rate=2)(x)"),
        ("series", "Conv1DTranspose(3, 3, dilation_rate=2, padding='same')(x)"),
        ("series", "Conv1DTranspose(6, 2, 3, data_format='channels_first')(x)"),
    ],
    "Conv2DTranspose": [
        ("image", "Conv2DTranspose(3, 3)(x)"),
        ("image", "Conv2DTranspose(3, 3, 2, 'same')(x)"),
        ("image", "Conv2DTranspose(3, (4, 3), 4, 'same')(x)"),
        ("image", "Conv2DTranspose(3, 2, 4, 'same')(x)"),
        ("image", "Conv2DTranspose(3, 1, (3, 2), 'valid')(x)"),
        ("image", "Conv2DTranspose(3, 5, 3, 'same')(x)"),
        ("image", "Conv2DTranspose(3, 3, 2, 'valid', output_padding=1)(x)"),
        ("image", "Conv2DTranspose(3, 3, 2, 'same', output_padding=1)(x)"),
        ("image", "Conv2DTranspose(3, 3, dilation_rate=2)(x)"),
        ("image", "Conv2DTranspose(3, 3, dilation_rate=(2, 1), padding='same')(x)"),
        ("image", "Conv2DTranspose(3, 4, dilation_rate=2, padding='same')(x)"),
        ("image", "Conv2DTranspose(6, 2, 3, 'same', data_format='channels_first')(x)"),
        ("image", "Conv2DTranspose(3, (2, 5), (5, 2), 'same', output_padding=(1, 0))(x)"),
        ("image", "Conv2DTranspose(3, 3, 4, 'valid', output_padding=2)(x)"),
    ],
    "Conv3DTranspose": [
        ("volume", "Conv3DTranspose(3, 2)(x)"),
        ("volume", "Conv3DTranspose(3, 3, 2, 'same')(x)"),
        ("volume", "Conv3DTranspose(3, 2, 3, 'same')(x)"),
        ("volume", "Conv3DTranspose(3, 2, 3, 'valid')(x)"),
        ("volume", "Conv3DTranspose(3, 3, 2, 'valid', output_padding=1)(x)"),
        ("volume", "Conv3DTranspose(3, 2, dilation_rate=2)(x)"),
        ("volume", "Conv3DTranspose(3, (1, 2, 3), (3, 1, 2), 'same')(x)"),
    ],
    "DepthwiseConv1D": [
        ("series", "DepthwiseConv1D(3)(x)"),
        ("series", "DepthwiseConv1D(3, strides=2, padding='same', depth_multiplier=2)(x)"),
        ("series", "DepthwiseConv1D(3, dilation_rate=2)(x)"),
    ],
    "DepthwiseConv2D": [
        ("image", "DepthwiseConv2D(3)(x)"),
        ("image", "DepthwiseConv2D(3, strides=2, padding='same', depth_multiplier=2)(x)"),
        ("image", "DepthwiseConv2D(3, dilation_rate=2, padding='same')(x)"),
    ],
    "SeparableConv1D": [
        ("series", "SeparableConv1D(6, 3)(x)"),
        ("series", "SeparableConv1D(6, 3, strides=2, padding='same', depth_multiplier=2)(x)"),
        ("series", "SeparableConv1D(6, 3, padding='same', dilation_rate=2)(x)"),
    ],
    "SeparableConv2D": [
        ("image", "SeparableConv2D(6, 3)(x)"),
        ("image", "SeparableConv2D(6, 3, strides=2, padding='same', depth_multiplier=2)(x)"),
        ("image", "SeparableConv2D(6, 3, dilation_rate=2)(x)"),
    ],
    # merging
    "Add": [("vector", "Add()([x, Dense(6)(x)])")],
    "Average": [("vector", "Average()([x, Dense(6)(x), Dense(6)(x)])")],
    "Concatenate": [
        ("image", "Concatenate()([x, Conv2D(2, 3, padding='same')(x)])"),
        ("image", "Concatenate(axis=1)([x, Dense(4)(x)])"),
    ],
    "Dot": [
        ("vector", "Dot(axes=1)([x, Dense(6)(x)])"),
        ("series", "Dot(axes=(1, 1), normalize=True)([x, Dense(3)(x)])"),
        ("series", "Dot(axes=(2, 2))([x, Dense(4)(x)])"),
    ],
    "Maximum": [("vector", "Maximum()([x, Dense(6)(x)])")],
    "Minimum": [("vector", "Minimum()([x, Dense(6)(x)])")],
    "Multiply": [("image", "Multiply()([x, Dense(1)(x)])")],
    "Subtract": [("vector", "Subtract()([x, Dense(6)(x)])")],
    # normalization
    "BatchNormalization": [
        ("vector", "BatchNormalization()(x)"),
        ("image", "BatchNormalization(scale=False)(x)"),
        ("image", "BatchNormalization(axis=1)(x)"),
        ("series", "BatchNormalization(center=False)(x)"),
        ("volume", "BatchNormalization()(x)"),
    ],
    "GroupNormalization": [
        ("image", "GroupNormalization(2)(x)"),
        ("image", "GroupNormalization(-1)(x)"),
        ("image", "GroupNormalization(2, axis=1)(x)"),
        ("vector", "GroupNormalization(3)(x)"),
        ("series", "GroupNormalization(2, scale=False, center=False)(x)"),
        ("volume", "GroupNormalization(4)(x)"),
    ],
    "LayerNormalization": [
        ("vector", "LayerNormalization()(x)"),
        ("image", "LayerNormalization()(x)"),
        ("image", "LayerNormalization(axis=[1, 2, 3])(x)"),
        ("image", "LayerNormalization(axis=1, scale=False)(x)"),
    ],
    "RMSNormalization": [
        ("vector", "RMSNormalization()(x)"),
        ("image", "RMSNormalization(axis=-1)(x)"),
    ],
    "UnitNormalization": [
        ("vector", "UnitNormalization()(x)"),
        ("image", "UnitNormalization(axis=(1, 2))(x)"),
    ],
    "SpectralNormalization": [
        ("vector", "SpectralNormalization(Dense(5))(x)"),
        ("image", "SpectralNormalization(Conv2D(5, 3))(x)"),
    ],
    "Normalization": [
        ("vector", "adapted(Normalization(), x)(x)"),
        ("vector", "adapted(Normalization(invert=True), x)(x)"),
        ("image", "adapted(Normalization(), x)(x)"),
        ("image", "adapted(Normalization(axis=None), x)(x)"),
        ("image", "adapted(Normalization(axis=(1, 2, 3)), x)(x)"),
        ("image", "adapted(Normalization(axis=1, invert=True), x)(x)"),
        ("series", "Normalization(mean=0.3, variance=2.0)(x)"),
        ("vector", "Normalization(mean=[0, 1, 2, 3, 4, 5.0], variance=[1, 1, 2, 2, 3, 0.0])(x)"),
        ("image", "keras.Sequential([adapted(Normalization(), x), Dense(3)])(x)"),
    ],
    # pooling
    "AveragePooling1D": [
        ("series", "AveragePooling1D(3, 2)(x)"),
        ("series", "AveragePooling1D(3, 2, padding='same')(x)"),
    ],
    "AveragePooling2D": [
        ("image", "AveragePooling2D(3, 2)(x)"),
        ("image", "AveragePooling2D((3, 2), 2, padding='same')(x)"),
    ],
    "AveragePooling3D": [
        ("volume", "AveragePooling3D(2)(x)"),
        ("volume", "AveragePooling3D(3, 2, padding='same')(x)"),
    ],
    "MaxPooling1D": [
        ("series", "MaxPooling1D(3, 2)(x)"),
        ("series", "MaxPooling1D(3, 2, padding='same')(x)"),
    ],
    "MaxPooling2D": [
        ("image", "MaxPooling2D(3, 2)(x)"),
        ("image", "MaxPooling2D((3, 2), 2, padding='same')(x)"),
        ("image", "MaxPooling2D(2, data_format='channels_first')(x)"),
    ],
    "MaxPooling3D": [
        ("volume", "MaxPooling3D(2)(x)"),
        ("volume", "MaxPooling3D(3, 2, padding='same')(x)"),
    ],
    "GlobalAveragePooling1D": [
        ("series", "GlobalAveragePooling1D()(x)"),
        ("series", "GlobalAveragePooling1D()(Masking(0.0)(x * cast(x[:, :, :1] > -0.3)))"),
    ],
    "GlobalAveragePooling2D": [
        ("image", "GlobalAveragePooling2D()(x)"),
        ("image", "GlobalAveragePooling2D(data_format='channels_first', keepdims=True)(x)"),
    ],
    "GlobalAveragePooling3D": [("volume", "GlobalAveragePooling3D(keepdims=True)(x)")],
    "GlobalMaxPooling1D": [("series", "GlobalMaxPooling1D()(x)")],
    "GlobalMaxPooling2D": [("image", "GlobalMaxPooling2D()(x)")],
    "GlobalMaxPooling3D": [("volume", "GlobalMaxPooling3D(keepdims=True)(x)")],
    "AdaptiveAveragePooling1D": [
        ("series", "AdaptiveAveragePooling1D(4)(x)"),
        ("series", "AdaptiveAveragePooling1D(3)(x)"),
    ],
    "AdaptiveAveragePooling2D": [
        ("image", "AdaptiveAveragePooling2D(4)(x)"),
        ("image", "AdaptiveAveragePooling2D((3, 5))(x)"),
    ],
    "AdaptiveAveragePooling3D": [
        ("volume", "AdaptiveAveragePooling3D(2)(x)"),
        ("volume", "AdaptiveAveragePooling3D((2, 3, 4))(x)"),
    ],
    "AdaptiveMaxPooling1D": [
        ("series", "AdaptiveMaxPooling1D(4)(x)"),
        ("series", "AdaptiveMaxPooling1D(3)(x)"),
    ],
    "AdaptiveMaxPooling2D": [
        ("image", "AdaptiveMaxPooling2D(4)(x)"),
        ("image", "AdaptiveMaxPooling2D((3, 5))(x)"),
    ],
    "AdaptiveMaxPooling3D": [
        ("volume", "AdaptiveMaxPooling3D(2)(x)"),
        ("volume", "AdaptiveMaxPooling3D((2, 3, 4))(x)"),
    ],
    # shapes
    "Cropping1D": [("series", "Cropping1D((1, 2))(x)")],
    "Cropping2D": [("image", "Cropping2D(((1, 2), (0, 1)))(x)")],
    "Cropping3D": [("volume", "Cropping3D(1)(x)")],
    "ZeroPadding1D": [("series", "ZeroPadding1D((1, 2))(x)")],
    "ZeroPadding2D": [
        ("image", "ZeroPadding2D(((1, 2), (0, 1)))(x)"),
        ("image", "ZeroPadding2D(1, data_format='channels_first')(x)"),
    ],
    "ZeroPadding3D": [("volume", "ZeroPadding3D(1)(x)")],
    "Flatten": [("image", "Flatten()(x)"), ("image", "Flatten('channels_first')(x)")],
    "Permute": [("image", "Permute((3, 1, 2))(x)")],
    "RepeatVector": [("vector", "RepeatVector(3)(x)")],
    "Reshape": [("image", "Reshape((4, -1))(x)"), ("vector", "Reshape((2, 3))(x)")],
    "UpSampling1D": [("series", "UpSampling1D(3)(x)")],
    "UpSampling2D": [
        ("image", "UpSampling2D((2, 3))(x)"),
        ("image", "UpSampling2D(2, interpolation='bilinear')(x)"),
        ("image", "UpSampling2D((3, 2), interpolation='bilinear')(x)"),
        ("image", "UpSampling2D(2, interpolation='bicubic')(x)"),
        ("image", "UpSampling2D(2, interpolation='lanczos3')(x)"),
        ("image", "UpSampling2D(2, interpolation='lanczos5')(x)"),
        ("image", "UpSampling2D(2, data_format='channels_first')(x)"),
    ],
    "UpSampling3D": [("volume", "UpSampling3D((2, 1, 3))(x)")],
    # attention
    "Attention": [
        ("series", "Attention()([x, Dense(4)(x)])"),
        ("series", "Attention(use_scale=True, score_mode='concat')([x, Dense(4)(x)])"),
        ("series", "Attention()([x, Dense(4)(x)], use_causal_mask=True)"),
        ("series", "Attention()([x, x], mask=[None, x[:, :, 0] > -0.5])"),
    ],
    "AdditiveAttention": [
        ("series", "AdditiveAttention()([x, Dense(4)(x)])"),
        ("series", "AdditiveAttention()([x, x], mask=[x[:, :, 0] > 0, x[:, :, 1] > -0.5])"),
    ],
    "MultiHeadAttention": [
        ("series", "MultiHeadAttention(2, 3)(x, x)"),
        ("series", "MultiHeadAttention(2, 3, value_dim=5, output_shape=6)(x, Dense(4)(x))"),
        ("series", "MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)"),
        ("series", "MultiHeadAttention(2, 3)(x, x, attention_mask=x @ transposed(x) > -1)"),
        ("image", "MultiHeadAttention(2, 3, attention_axes=(1, 2))(x, x)"),
        ("series", "MultiHeadAttention(2, 3, flash_attention=False)(x, x)"),
        ("volume", "MultiHeadAttention(2, 3, attention_axes=(1, 2, 3))(x, x)"),
    ],
    "GroupQueryAttention": [
        ("series", "GroupQueryAttention(3, 4, 2)(x, x)"),
        ("series", "GroupQueryAttention(3, 4, 2)(x, x, use_causal_mask=True)"),
    ],
    # recurrent
    "LSTM": [
        ("series", "LSTM(3)(x)"),
        ("series", "LSTM(3, return_sequences=True, go_backwards=True)(x)"),
        ("series", "LSTM(3, return_state=True)(x)[2]"),
        ("series", "LSTM(3, unroll=True)(x)"),
        ("series", "LSTM(3, activation='relu', recurrent_activation='hard_sigmoid')(x)"),
        ("series", "LSTM(3)(x, initial_state=[Dense(3)(Flatten()(x)), Dense(3)(Flatten()(x))])"),
    ],
    "GRU": [
        ("series", "GRU(3)(x)"),
        ("series", "GRU(3, return_sequences=True)(x)"),
        ("series", "GRU(3, reset_after=False, go_backwards=True)(x)"),
        ("series", "GRU(3, return_state=True)(x)[1]"),
        ("series", "GRU(3)(x, initial_state=Dense(3)(Flatten()(x)))"),
    ],
    "SimpleRNN": [
        ("series", "SimpleRNN(3)(x)"),
        ("series", "SimpleRNN(3, return_sequences=True, activation='relu')(x)"),
    ],
    "RNN": [
        ("series", "RNN(LSTMCell(3))(x)"),
        ("series", "RNN([GRUCell(3), LSTMCell(2)], return_sequences=True)(x)"),
    ],
    "LSTMCell": [("series", "RNN(LSTMCell(3), return_sequences=True)(x)")],
    "GRUCell": [("series", "RNN(GRUCell(3))(x)")],
    "SimpleRNNCell": [("series", "RNN(SimpleRNNCell(3))(x)")],
    "StackedRNNCells": [("series", "RNN(StackedRNNCells([LSTMCell(3), LSTMCell(2)]))(x)")],
    "Bidirectional": [
        ("series", "Bidirectional(LSTM(3))(x)"),
        ("series", "Bidirectional(GRU(3, return_sequences=True), merge_mode='sum')(x)"),
        ("series", "Bidirectional(SimpleRNN(3), merge_mode='ave')(x)"),
        ("series", "Bidirectional(LSTM(3), backward_layer=GRU(3, go_backwards=True))(x)"),
    ],
    "TimeDistributed": [
        ("series", "TimeDistributed(Dense(3))(x)"),
        ("image", "TimeDistributed(Conv1D(3, 2))(x)"),
        ("volume", "TimeDistributed(Conv2D(3, 2))(x)"),
    ],
    "ConvLSTM1D": [("image", "ConvLSTM1D(3, 3)(x)")],
    "ConvLSTM2D": [
        ("volume", "ConvLSTM2D(3, 3, padding='same', return_sequences=True)(x)"),
        ("volume", "Bidirectional(ConvLSTM2D(2, 2))(x)"),
    ],
    "ConvLSTM3D": [("volume", "ConvLSTM3D(2, 2)(Reshape((4, 4, 4, 4, 1))(x))")],
    # dropout and noise do nothing at inference
    "AlphaDropout": [("vector", "AlphaDropout(0.5)(x)")],
    "Dropout": [("vector", "Dropout(0.5)(x)")],
    "GaussianDropout": [("vector", "GaussianDropout(0.5)(x)")],
    "GaussianNoise": [("vector", "GaussianNoise(0.5)(x)")],
    "SpatialDropout1D": [("series", "SpatialDropout1D(0.5)(x)")],
    "SpatialDropout2D": [("image", "SpatialDropout2D(0.5)(x)")],
    "SpatialDropout3D": [("volume", "SpatialDropout3D(0.5)(x)")],
    # preprocessing
    "Rescaling": [
        ("image", "Rescaling(2.0, -1)(x)"),
        ("picture", "Rescaling([1.0, 2, 3], [0.5, 0, 1])(x)"),
    ],
    "Resizing": [
        ("picture", "Resizing(5, 12)(x)"),
        ("picture", "Resizing(16, 4, interpolation='nearest')(x)"),
        ("picture", "Resizing(5, 7, interpolation='nearest')(x)"),
        ("picture", "Resizing(12, 12, interpolation='bicubic')(x)"),
        ("picture", "Resizing(12, 5, interpolation='area')(x)"),
        ("picture", "Resizing(12, 5, interpolation='lanczos3')(x)"),
        ("picture", "Resizing(6, 4, crop_to_aspect_ratio=True)(x)"),
        ("picture", "Resizing(6, 4, pad_to_aspect_ratio=True)(x)"),
        ("picture", "Resizing(5, 12, antialias=True)(x)"),
        ("picture", "Resizing(12, 12, antialias=True)(x)"),
    ],
    "CenterCrop": [("picture", "CenterCrop(5, 4)(x)"), ("picture", "CenterCrop(12, 4)(x)")],
    "CategoryEncoding": [
        ("whole", "CategoryEncoding(7)(x)"),
        ("whole", "CategoryEncoding(7, output_mode='one_hot')(x[:, :1])"),
        ("whole", "CategoryEncoding(7, output_mode='one_hot')(x)"),
        ("whole", "CategoryEncoding(7, output_mode='count')(x)"),
    ],
    "Discretization": [
        ("vector", "cast(Discretization(bin_boundaries=[-1.0, 0.0, 1.5])(x))"),
        ("vector", "Discretization(bin_boundaries=[-1.0, 0.0], output_mode='one_hot')(x[:, :1])"),
        ("vector", "Discretization(bin_boundaries=[-1.0, 0.0], output_mode='count')(x)"),
    ],
    "MelSpectrogram": [
        (
            "series",
            "MelSpectrogram(fft_length=64, sequence_stride=16, num_mel_bins=8)"
            "(Reshape((128,))(Conv1D(16, 1)(x)))",
        ),
    ],
    "STFTSpectrogram": [
        ("series", "STFTSpectrogram('real', 4, 2, 4, window=None)(x)"),
        ("series", "STFTSpectrogram('log', 16, 8, 16, window=None)(Reshape((32, 1))(x))"),
    ],
    "Pipeline": [("picture", "Pipeline([Rescaling(2.0), RandomFlip()])(x)")],
    "Solarization": [("picture", "Solarization(value_range=(0, 1))(x)")],
    "AutoContrast": [("picture", "AutoContrast(value_range=(0, 1))(x)")],
    "ContrastLimitedAdaptiveHistogramEqualization": [
        ("picture", "ContrastLimitedAdaptiveHistogramEqualization(value_range=(0, 1))(x)")
    ],
    "AugMix": [("picture", "AugMix(value_range=(0, 1))(x)")],
    "CutMix": [("picture", "CutMix()(x)")],
    "MixUp": [("picture", "MixUp()(x)")],
    "RandAugment": [("picture", "RandAugment(value_range=(0, 1))(x)")],
    "RandomBrightness": [("picture", "RandomBrightness(0.2, value_range=(0, 1))(x)")],
    "RandomColorDegeneration": [("picture", "RandomColorDegeneration(0.5, value_range=(0, 1))(x)")],
    "RandomColorJitter": [("picture", "RandomColorJitter((0, 1), 0.2, 0.2, 0.2, 0.2)(x)")],
    "RandomContrast": [("picture", "RandomContrast(0.2, value_range=(0, 1))(x)")],
    "RandomCrop": [("picture", "RandomCrop(5, 4)(x)"), ("picture", "RandomCrop(8, 8)(x)")],
    "RandomElasticTransform": [("picture", "RandomElasticTransform(0.5, value_range=(0, 1))(x)")],
    "RandomErasing": [("picture", "RandomErasing(value_range=(0, 1))(x)")],
    "RandomFlip": [("picture", "RandomFlip()(x)")],
    "RandomGaussianBlur": [("picture", "RandomGaussianBlur(value_range=(0, 1))(x)")],
    "RandomGrayscale": [("picture", "RandomGrayscale()(x)")],
    "RandomHue": [("picture", "RandomHue(0.2, value_range=(0, 1))(x)")],
    "RandomInvert": [("picture", "RandomInvert(value_range=(0, 1))(x)")],
    "RandomPerspective": [("picture", "RandomPerspective()(x)")],
    "RandomPosterization": [("picture", "RandomPosterization(4, value_range=(0, 1))(x)")],
    "RandomRotation": [("picture", "RandomRotation(0.2)(x)")],
    "RandomSaturation": [("picture", "RandomSaturation(0.2, value_range=(0, 1))(x)")],
    "RandomSharpness": [("picture", "RandomSharpness(0.2, value_range=(0, 1))(x)")],
    "RandomShear": [("picture", "RandomShear(0.2, 0.2)(x)")],
    "RandomTranslation": [("picture", "RandomTranslation(0.2, 0.2)(x)")],
    "RandomZoom": [("picture", "RandomZoom(0.2)(x)")],
}

_ACTIVATIONS = """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign
    sparse_plus sparse_sigmoid sparsemax squareplus tanh tanh_shrink
"""
ACTIVATIONS = {
    **dict.fromkeys(_ACTIVATIONS.split(), "Activation('{}')(x)"),
    "threshold": "Activation(lambda t: keras.activations.threshold(t, 0.2, -1.0))(x)",
}
"""Name in `keras.activations` -> the activation as a layer."""

REFUSED = {
    "Hashing": ("whole", "cast(Hashing(4)(cast(x, 'int64')))", "StringToHashBucketFast"),
    "HashedCrossing": (
        "whole",
        "cast(HashedCrossing(4)((cast(x[:, 0], 'int64'), cast(x[:, 1], 'int64'))))",
        "SparseCross",
    ),
    "IntegerLookup": (
        "whole",
        "cast(IntegerLookup(vocabulary=[1, 3, 5])(cast(x, 'int64')))",
        "LookupTableFindV2",
    ),
}
"""Layer -> kind of samples, expression, and the operator that the error names."""

NOT_FOR_MODELS = {
    "Layer": "a base class",
    "Wrapper": "a base class",
    "FlaxLayer": "needs Keras's JAX backend",
    "JaxLayer": "needs Keras's JAX backend",
    "TorchModuleWrapper": "needs Keras's PyTorch backend",
    "MaxNumBoundingBoxes": "takes labels of pictures",
    "StringLookup": "takes text",
    "TextVectorization": "takes text",
    "Equalization": "Keras itself cannot build a model with it",
}
"""Layers that cannot stand in an encoder or decoder of this project."""


def table():
    """Return the table of layers in export/README.md."""
    wrong = {name: f"operator {operator}" for name, (_, _, operator) in REFUSED.items()}
    rows = [
        ("taken", f"{len(TAKEN)} layers: " + ", ".join(sorted(TAKEN))),
        ("activations taken", f"{len(ACTIVATIONS)}: " + ", ".join(sorted(ACTIVATIONS))),
        ("refused: no ONNX form", ", ".join(f"{n} ({why})" for n, why in sorted(wrong.items()))),
        (
            "not for these models",
            ", ".join(f"{n} ({w})" for n, w in sorted(NOT_FOR_MODELS.items())),
        ),
    ]
    lines = [f"| {kind} | {names} |" for kind, names in rows]
    return "\n".join(["| Keras 3.15 | |", "|---|---|", *lines])


if __name__ == "__main__":
    print(table())
