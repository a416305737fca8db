import keras_tuner
import tensorflow as tf

(x, y), test = tf.keras.datasets.mnist.load_data()


def build(hp):
    model = tf.keras.Sequential([
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(hp.Int("units", 32, 128, step=32), activation="relu"),
        tf.keras.layers.Dense(10),
    ])
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
    return model


tuner = keras_tuner.RandomSearch(build, objective="val_accuracy", max_trials=3)
tuner.search(x / 255, y, epochs=1, validation_data=test)
tuner.results_summary()
