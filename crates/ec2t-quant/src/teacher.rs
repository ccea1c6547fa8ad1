//! Knowledge distillation: another network, whose answers are learnt as well.
//!
//! The teacher answers each batch in its evaluation form, and a share of the loss is
//! the distance from its answers (Hinton, Vinyals & Dean 2015; see
//! [`Teacher`]). It sees the images as they were varied for the student.

use ec2t_format::graph::GraphError;
use ec2t_format::{Graph, Network};
use ec2t_ops::loss::Teacher;

use crate::engine::Engine;
use crate::error::QuantError;
use crate::options::DistillOptions;
use crate::session::Backend;
use crate::weights::Weights;

/// A network that answers for a student.
pub(crate) struct TeacherNetwork {
    engine: Engine,
    weights: Weights,
    options: DistillOptions,
}

impl TeacherNetwork {
    /// The teacher of a network of graph `student`; none if it has no share.
    ///
    /// # Errors
    /// Where there is no teacher but it has a share, or it takes other images or
    /// gives other answers than the student, or can't be computed.
    pub(crate) fn new(
        backend: Backend,
        teacher: Option<&Network>,
        student: &Graph,
        options: DistillOptions,
    ) -> Result<Option<Self>, QuantError> {
        if options.distill == 0.0 {
            return Ok(None);
        }
        let Some(teacher) = teacher else {
            let reason = "needs a teacher, and there is none".into();
            return Err(QuantError::Option { option: "distill", reason });
        };
        let graph = teacher.graph();
        fits(graph, student)?;
        let weights = Weights::from_network(teacher);
        let engine = Engine::new(backend, graph, &weights)?;
        Ok(Some(Self { engine, weights, options }))
    }

    /// Its answers to a batch, `[N, C, H, W]`.
    pub(crate) fn answer(
        &mut self,
        images: &[f32],
        batch: usize,
    ) -> Result<Teacher<'_>, QuantError> {
        let DistillOptions { distill: share, temperature } = self.options;
        let logits = self.engine.logits(&self.weights, images, batch)?;
        Ok(Teacher { logits, share, temperature })
    }
}

/// Whether the same images, normalized in the same way, have answers of the same
/// number from both networks.
fn fits(teacher: &Graph, student: &Graph) -> Result<(), QuantError> {
    let outputs = |graph: &Graph| graph.output_shape().map_err(GraphError::from);
    let (given, needed) = (outputs(teacher)?, outputs(student)?);
    let differs = match () {
        () if teacher.input != student.input => Some("takes images of another size"),
        () if teacher.preprocess != student.preprocess => Some("normalizes images otherwise"),
        () if given != needed => Some("knows another number of classes"),
        () => None,
    };
    match differs {
        Some(what) => Err(QuantError::Data(format!(
            "{} can't teach {}: it {what}",
            teacher.name, student.name
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ec2t_format::graph::{GraphBuilder, Shape};

    const OPTIONS: DistillOptions = DistillOptions { distill: 0.5, temperature: 2.0 };

    fn network(name: &str, side: usize, classes: usize) -> Network {
        let mut g = GraphBuilder::new(name, Shape::new(1, side, side));
        let x = g.flatten("flatten", g.input());
        g.linear("fc", x, classes);
        crate::initialize(&g.finish().unwrap(), 1).unwrap()
    }

    fn teacher(teacher: Option<&Network>, options: DistillOptions) -> Result<bool, String> {
        let student = network("student", 2, 3);
        let teacher = TeacherNetwork::new(Backend::Cpu, teacher, student.graph(), options);
        teacher.map(|teacher| teacher.is_some()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_teacher_answers_as_it_does_alone() {
        let network = network("t", 2, 3);
        let images = [0.5, -1.0, 2.0, 0.0, 1.0, 1.0, -1.0, 0.25];
        let student = network.graph();
        let teacher = TeacherNetwork::new(Backend::Cpu, Some(&network), student, OPTIONS);
        let mut teacher = teacher.unwrap().unwrap();
        let answer = teacher.answer(&images, 2).unwrap();
        assert_eq!([answer.share, answer.temperature], [0.5, 2.0]);

        let weights = Weights::from_network(&network);
        let mut engine = Engine::new(Backend::Cpu, network.graph(), &weights).unwrap();
        assert_eq!(answer.logits, engine.logits(&weights, &images, 2).unwrap());
    }

    #[test]
    fn a_teacher_that_does_not_fit_is_refused() {
        assert_eq!(teacher(None, DistillOptions::default()), Ok(false));
        assert_eq!(teacher(Some(&network("t", 2, 3)), OPTIONS), Ok(true));
        let words = |found: Result<bool, String>, words: &str| {
            assert!(found.as_ref().is_err_and(|error| error.contains(words)), "{found:?}");
        };
        words(teacher(None, OPTIONS), "`distill`: needs a teacher");
        words(teacher(Some(&network("t", 4, 3)), OPTIONS), "t can't teach student: it takes");
        words(teacher(Some(&network("t", 2, 4)), OPTIONS), "another number of classes");
    }
}
