"""Trading time for memory: results are forgotten, and computed again for the gradient."""

import tensorflow as tf


def rematerialize(function, *inputs):
    """Calls a function whose intermediate results are not kept for the gradient.

    Like `tf.recompute_grad`, but the function may itself take gradients, and what it returns as
    constants is kept, so that it need not be computed again.

    Args:
      function: (*inputs, constants) -> (outputs, constants). The constants are None in the first
        call and what that one returned in the second. No gradient may flow through them.
      *inputs: nests of float tensors, the ones to differentiate by beside the variables.

    Returns:
      The function's outputs, a nest of float tensors.
    """
    structure = None

    @tf.custom_gradient
    def call(*flat_inputs):
        nonlocal structure
        outputs, constants = function(*tf.nest.pack_sequence_as(inputs, flat_inputs), None)
        structure = outputs

        def gradient(*d_outputs, variables=()):
            # The gradients come last. Without a dependency on them TensorFlow might compute all of
            # this at once, and XLA would find that it has done so before.
            zero = 0.0 * tf.add_n([tf.reshape(d, [-1])[0] for d in d_outputs])
            later_inputs = [x + zero for x in flat_inputs]
            with tf.GradientTape() as tape:
                tape.watch(later_inputs)
                again, _ = function(*tf.nest.pack_sequence_as(inputs, later_inputs), constants)
            gradients = tape.gradient(
                tf.nest.flatten(again),
                [*later_inputs, *variables],
                output_gradients=list(d_outputs),
                unconnected_gradients="zero",
            )
            d_inputs, d_variables = gradients[: len(later_inputs)], gradients[len(later_inputs) :]
            # Whatever comes before waits until the results of this call can be forgotten again.
            with tf.control_dependencies(d_variables):
                d_inputs = [tf.identity(d) for d in d_inputs]
            return (d_inputs, d_variables) if variables else d_inputs

        return tf.nest.flatten(outputs), gradient

    flat_outputs = call(*tf.nest.flatten(inputs))
    return tf.nest.pack_sequence_as(structure, flat_outputs)
