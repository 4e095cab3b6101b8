"""What is maximised: a term a subject. No loop lives here."""
