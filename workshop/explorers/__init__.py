"""Explorers of the lessons: small interactive pictures, one a file.

Each comes from a function that takes what it needs and returns a `Stage`, drawn in the browser (`stage.py`).
`Refused` is what an explorer raises where it will not compute.
"""

from workshop.explorers.batch_size import batch_size
from workshop.explorers.bound_and_gap import bound_and_gap
from workshop.explorers.calibrated import calibrated
from workshop.explorers.class_by_class import class_by_class
from workshop.explorers.collapse import collapse
from workshop.explorers.controls import Refused
from workshop.explorers.day_by_day import day_by_day
from workshop.explorers.diagonal_or_full import diagonal_or_full
from workshop.explorers.dose_and_loss import dose_and_loss
from workshop.explorers.draws_needed import draws_needed
from workshop.explorers.dropout import dropout
from workshop.explorers.eight_schools import eight_schools
from workshop.explorers.em_by_hand import em_by_hand
from workshop.explorers.gate_by_hand import gate_by_hand
from workshop.explorers.generative import generative
from workshop.explorers.inside_the_ode import inside_the_ode
from workshop.explorers.ladder import ladder
from workshop.explorers.latent_pad import latent_pad
from workshop.explorers.one_more_sample import one_more_sample
from workshop.explorers.one_network import one_network
from workshop.explorers.one_subject import one_subject
from workshop.explorers.other_doses import other_doses
from workshop.explorers.pooling import pooling
from workshop.explorers.prior_of_curves import prior_of_curves
from workshop.explorers.prior_to_posterior import prior_to_posterior
from workshop.explorers.regimen_builder import regimen_builder
from workshop.explorers.saem_step_by_step import saem_step_by_step
from workshop.explorers.sampling_times import sampling_times
from workshop.explorers.shrinkage import shrinkage
from workshop.explorers.sparse_binary import sparse_binary
from workshop.explorers.sparse_theophylline import sparse_theophylline
from workshop.explorers.split_set import split_set
from workshop.explorers.three_patients import three_patients
from workshop.explorers.virtual_trial import virtual_trial
from workshop.explorers.vpc_by_hand import vpc_by_hand
from workshop.explorers.welcome import welcome
from workshop.explorers.what_can_be_known import what_can_be_known
from workshop.explorers.which_part_tells import which_part_tells

__all__ = [
    "Refused",
    "batch_size",
    "bound_and_gap",
    "calibrated",
    "class_by_class",
    "collapse",
    "day_by_day",
    "diagonal_or_full",
    "dose_and_loss",
    "draws_needed",
    "dropout",
    "eight_schools",
    "em_by_hand",
    "gate_by_hand",
    "generative",
    "inside_the_ode",
    "ladder",
    "latent_pad",
    "one_more_sample",
    "one_network",
    "one_subject",
    "other_doses",
    "pooling",
    "prior_of_curves",
    "prior_to_posterior",
    "regimen_builder",
    "saem_step_by_step",
    "sampling_times",
    "shrinkage",
    "sparse_binary",
    "sparse_theophylline",
    "split_set",
    "three_patients",
    "virtual_trial",
    "vpc_by_hand",
    "welcome",
    "what_can_be_known",
    "which_part_tells",
]
