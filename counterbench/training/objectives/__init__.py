"""What a stage of training minimises, one file each; a recipe names them."""
