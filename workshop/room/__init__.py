"""For the teacher of a class: questions to print or to vote on, and an overview of what a class has done."""
